"""Functions of one value, entry by entry: x goes in, y comes out, and y is used again wherever it says y′."""

from collections.abc import Mapping
from math import log, pi, sqrt

import onnx_ir as ir

from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


def negate(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = −x."""
    return {0: adjoint.emit("Neg", adjoint.gradient)}


def square_root(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = √x: y′ = 1/(2y)."""
    emit = adjoint.emit
    return {0: emit("Mul", emit("Div", adjoint.gradient, adjoint.output), emit.constant(0.5))}


def reciprocal(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = 1/x: y′ = −y²."""
    emit, y = adjoint.emit, adjoint.output
    return {0: emit("Neg", emit("Mul", adjoint.gradient, emit("Mul", y, y)))}


def exponential(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = eˣ: y′ = y."""
    return {0: adjoint.emit("Mul", adjoint.gradient, adjoint.output)}


def logarithm(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = log x: y′ = 1/x."""
    return {0: adjoint.emit("Div", adjoint.gradient, adjoint.operand(0))}


def tanh(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = tanh x: y′ = 1 − y²."""
    emit, y = adjoint.emit, adjoint.output
    return {0: emit("Mul", adjoint.gradient, emit("Sub", emit.constant(1), emit("Mul", y, y)))}


def sigmoid(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = 1/(1 + e⁻ˣ): y′ = y(1 − y)."""
    emit, y = adjoint.emit, adjoint.output
    return {0: emit("Mul", adjoint.gradient, emit("Mul", y, emit("Sub", emit.constant(1), y)))}


def relu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = max(x, 0): y′ = 1 where x > 0, else 0."""
    emit, zero = adjoint.emit, adjoint.emit.constant(0)
    return {0: emit("Where", emit("Greater", adjoint.operand(0), zero), adjoint.gradient, zero)}


def error_function(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = erf x: y′ = 2/√π · exp(−x²)."""
    emit, x = adjoint.emit, adjoint.operand(0)
    return {0: emit("Mul", adjoint.gradient, _bell(adjoint, 2 / sqrt(pi), x))}


def gelu(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x Φ(x): y′ = Φ(x) + x φ(x) (Hendrycks & Gimpel 2016, arXiv 1606.08415); not the approximation by tanh."""
    emit, x = adjoint.emit, adjoint.operand(0)
    approximate = adjoint.node.attributes.get("approximate")
    if approximate is not None and approximate.as_string() != "none":
        raise ModelError(
            f"{adjoint.called} approximates by {approximate.as_string()}, which has no rule of differentiation"
        )
    scaled = emit("Mul", x, emit.constant(1 / sqrt(2)))
    # Φ(x) = ½ erf(x/√2) + ½, in one pass.
    distribution = emit("HardSigmoid", emit("Erf", scaled), alpha=0.5, beta=0.5)
    slope = emit("Add", distribution, emit("Mul", x, _bell(adjoint, 1 / sqrt(2 * pi), scaled)))
    return {0: emit("Mul", adjoint.gradient, slope)}


def _bell(adjoint: Adjoint, height: float, x: ir.Value) -> ir.Value:
    """Return height · exp(−x²); the height goes into the exponent, which saves a pass over the entries."""
    emit = adjoint.emit
    return emit("Exp", emit("Sub", emit.constant(log(height)), emit("Mul", x, x)))
