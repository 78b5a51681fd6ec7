"""Activation functions, entry by entry: x goes in, y comes out, and y is used again wherever it says y′."""

from collections.abc import Mapping
from math import pi, sqrt

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import operand
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.learning.rules.elementwise import bell

_CUBIC = 0.044715
"""Of the argument of the tanh by which a Gelu is approximated (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
"""The defaults of ONNX's Selu (Klambauer et al. 2017, arXiv 1706.02515)."""


def gelu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x Φ(x), or its approximation by tanh (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
    approximate = adjoint.node.attributes.get("approximate")
    if approximate is not None and approximate.as_string() == "tanh":
        return fast_gelu(adjoint)
    return exact_gelu(adjoint)


def exact_gelu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x Φ(x): y′ = Φ(x) + x φ(x)."""
    emit, x = adjoint.emit, _with_bias(adjoint)
    scaled = emit("Mul", x, emit.constant(1 / sqrt(2)))
    # Φ(x) = ½ erf(x/√2) + ½, in one pass.
    distribution = emit("HardSigmoid", emit("Erf", scaled), alpha=0.5, beta=0.5)
    return _steep(adjoint, emit("Add", distribution, emit("Mul", x, bell(emit, 1 / sqrt(2 * pi), scaled))))


def fast_gelu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x h with h = ½(1 + tanh u), u = √(2/π)(x + 0.044715 x³): y′ = h + 2 x h(1 − h) u′."""
    emit, x = adjoint.emit, _with_bias(adjoint)
    square, root = emit("Mul", x, x), sqrt(2 / pi)
    u = emit("Mul", x, _affine(adjoint, square, root * _CUBIC, root))
    h = emit("HardSigmoid", emit("Tanh", u), alpha=0.5, beta=0.5)
    flank = emit("Mul", h, emit("Sub", emit.constant(1), h))
    steepness = emit("Mul", x, _affine(adjoint, square, 6 * root * _CUBIC, 2 * root))
    return _steep(adjoint, emit("Add", h, emit("Mul", flank, steepness)))


def _with_bias(adjoint: Adjoint) -> ir.Value:
    """Return x, and what the fused kinds add to it, if they do."""
    x, bias = adjoint.operand(0), operand(adjoint.node, 1)
    return x if bias is None else adjoint.emit("Add", x, bias)


def _steep(adjoint: Adjoint, slope: ir.Value) -> Mapping[int, ir.Value]:
    """Return the gradient of x, and of the bias if it is wanted."""
    emit, change = adjoint.emit, adjoint.emit("Mul", adjoint.gradient, slope)
    return {index: emit.sum_to(change, adjoint.output, adjoint.operand(index)) for index in adjoint.wanted}


def quick_gelu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x σ(αx), which is Swish too: y′ = s(1 + αx(1 − s)) with s = σ(αx)."""
    emit, x = adjoint.emit, adjoint.operand(0)
    default = 1.702 if adjoint.node.domain else 1.0
    scaled = emit("Mul", x, emit.constant(adjoint.float_attribute("alpha", default)))
    s = emit("Sigmoid", scaled)
    slope = emit("Add", s, emit("Mul", emit("Mul", scaled, s), emit("Sub", emit.constant(1), s)))
    return {0: emit("Mul", adjoint.gradient, slope)}


def relu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = max(x, 0): y′ = 1 where x > 0, else 0."""
    return {0: _where_positive(adjoint, adjoint.gradient, adjoint.emit.constant(0))}


def leaky_relu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x where x > 0, else αx."""
    emit = adjoint.emit
    flat = emit("Mul", adjoint.gradient, emit.constant(adjoint.float_attribute("alpha", 0.01)))
    return {0: _where_positive(adjoint, adjoint.gradient, flat)}


def parametric_relu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x where x > 0, else p x: dp = Σ dy·x there."""
    emit, (x, p) = adjoint.emit, (adjoint.operand(0), adjoint.operand(1))
    found = {}
    if 0 in adjoint.wanted:
        found[0] = _where_positive(adjoint, adjoint.gradient, emit("Mul", adjoint.gradient, p))
    if 1 in adjoint.wanted:
        negative = emit("Min", x, emit.constant(0))
        found[1] = emit.sum_to(emit("Mul", adjoint.gradient, negative), adjoint.output, p)
    return found


def elu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x where x > 0, else α(eˣ − 1): y′ = y + α there."""
    alpha = adjoint.emit.constant(adjoint.float_attribute("alpha", 1.0))
    return {0: _bent(adjoint, adjoint.gradient, adjoint.emit("Add", adjoint.output, alpha))}


def selu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = γx where x > 0, else γα(eˣ − 1): y′ = y + γα there."""
    emit, gamma = adjoint.emit, adjoint.float_attribute("gamma", _SELU_GAMMA)
    lowest = emit.constant(gamma * adjoint.float_attribute("alpha", _SELU_ALPHA))
    steep = emit("Mul", adjoint.gradient, emit.constant(gamma))
    return {0: _bent(adjoint, steep, emit("Add", adjoint.output, lowest))}


def softplus(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = log(1 + eˣ): y′ = σ(x)."""
    return {0: adjoint.emit("Mul", adjoint.gradient, adjoint.emit("Sigmoid", adjoint.operand(0)))}


def hard_sigmoid(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = αx + β from 0 to 1: y′ = α where 0 < y < 1."""
    emit, y = adjoint.emit, adjoint.output
    steep = emit("Mul", adjoint.gradient, emit.constant(adjoint.float_attribute("alpha", 0.2)))
    return {0: emit("Where", _inside(adjoint, y), steep, emit.constant(0))}


def hard_swish(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x h with h = x/6 + ½ from 0 to 1: y′ = h, and x/6 more where 0 < h < 1."""
    emit, x = adjoint.emit, adjoint.operand(0)
    h = emit("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    more = emit("Where", _inside(adjoint, h), emit("Mul", x, emit.constant(1 / 6)), emit.constant(0))
    return {0: emit("Mul", adjoint.gradient, emit("Add", h, more))}


def _affine(adjoint: Adjoint, x: ir.Value, factor: float, term: float) -> ir.Value:
    emit = adjoint.emit
    return emit("Add", emit("Mul", x, emit.constant(factor)), emit.constant(term))


def _bent(adjoint: Adjoint, steep: ir.Value, slope: ir.Value) -> ir.Value:
    """Return ``steep`` where x > 0, elsewhere the gradient times ``slope``, which must be finite everywhere."""
    return _where_positive(adjoint, steep, adjoint.emit("Mul", adjoint.gradient, slope))


def _where_positive(adjoint: Adjoint, then: ir.Value, otherwise: ir.Value) -> ir.Value:
    emit = adjoint.emit
    return emit("Where", emit("Greater", adjoint.operand(0), emit.constant(0)), then, otherwise)


def _inside(adjoint: Adjoint, fraction: ir.Value) -> ir.Value:
    """Return whether 0 < ``fraction`` < 1."""
    emit = adjoint.emit
    return emit("And", emit("Greater", fraction, emit.constant(0)), emit("Less", fraction, emit.constant(1)))
