"""Normalizations: along the last axes, over the channels of an image, and by statistics of the training."""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint


def layer_normalization(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = γ n + β with n = (x − mean)/σ along the last axes (Ba, Kiros & Hinton 2016, arXiv 1607.06450).

    With d = γ dy: dx = (d − mean(d) − n · mean(d·n))/σ, dγ = Σ dy·n, dβ = Σ dy.
    """
    emit, x = adjoint.emit, adjoint.operand(0)
    mean, inverse_deviation = _statistics(adjoint)
    normalized = emit("Mul", emit("Sub", x, mean), inverse_deviation)
    found = _by_parameters(adjoint, normalized)
    if 0 in adjoint.wanted:
        d = emit("Mul", adjoint.gradient, adjoint.operand(1))
        aligned = _mean(adjoint, emit("Mul", d, normalized), _normalized_axes(adjoint))
        centred = emit("Sub", d, _mean(adjoint, d, _normalized_axes(adjoint)))
        found[0] = emit("Mul", emit("Sub", centred, emit("Mul", normalized, aligned)), inverse_deviation)
    return found


def rms_normalization(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = γ n with n = x/r, r² = mean(x²) + ε along the last axes (Zhang & Sennrich 2019, arXiv 1910.07467).

    With d = γ dy: dx = (d − n · mean(d·n))/r, dγ = Σ dy·n.
    """
    emit, x, axes = adjoint.emit, adjoint.operand(0), _normalized_axes(adjoint)
    inverse = _inverse_root(adjoint, _mean(adjoint, emit("Mul", x, x), axes))
    normalized = emit("Mul", x, inverse)
    found = _by_parameters(adjoint, normalized)
    if 0 in adjoint.wanted:
        d = emit("Mul", adjoint.gradient, adjoint.operand(1))
        aligned = _mean(adjoint, emit("Mul", d, normalized), axes)
        found[0] = emit("Mul", emit("Sub", d, emit("Mul", normalized, aligned)), inverse)
    return found


def instance_normalization(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = γ n + β, n normalized over the pixels of a channel (Ulyanov, Vedaldi & Lempitsky 2016, arXiv 1607.08022)."""
    emit, x = adjoint.emit, adjoint.operand(0)
    pixels = list(range(2, emit.ndim(x)))
    centred = emit("Sub", x, _mean(adjoint, x, pixels))
    inverse = _inverse_root(adjoint, _mean(adjoint, emit("Mul", centred, centred), pixels))
    normalized = emit("Mul", centred, inverse)
    found = _by_channels(adjoint, normalized)
    if 0 in adjoint.wanted:
        d = emit("Mul", adjoint.gradient, _channels(adjoint, adjoint.operand(1)))
        aligned = emit("Mul", normalized, _mean(adjoint, emit("Mul", d, normalized), pixels))
        found[0] = emit("Mul", emit("Sub", emit("Sub", d, _mean(adjoint, d, pixels)), aligned), inverse)
    return found


def batch_normalization(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = γ(x − m)/√(v + ε) + β with mean and variance of the training, which are constants here."""
    adjoint.only(0, 1, 2)
    emit, (mean, variance) = adjoint.emit, (_channels(adjoint, adjoint.operand(index)) for index in (3, 4))
    inverse = _inverse_root(adjoint, variance)
    found = _by_channels(adjoint, emit("Mul", emit("Sub", adjoint.operand(0), mean), inverse))
    if 0 in adjoint.wanted:
        scale = emit("Mul", inverse, _channels(adjoint, adjoint.operand(1)))
        found[0] = emit("Mul", adjoint.gradient, scale)
    return found


def _by_parameters(adjoint: Adjoint, normalized: ir.Value) -> dict[int, ir.Value]:
    """Return dγ and dβ, as far as they are wanted, where γ and β are shaped as the last axes."""
    emit, found = adjoint.emit, {}
    if 1 in adjoint.wanted:
        found[1] = emit.sum_to(emit("Mul", adjoint.gradient, normalized), adjoint.output, adjoint.operand(1))
    if 2 in adjoint.wanted:
        found[2] = emit.sum_to(adjoint.gradient, adjoint.output, adjoint.operand(2))
    return found


def _by_channels(adjoint: Adjoint, normalized: ir.Value) -> dict[int, ir.Value]:
    """Return dγ and dβ, as far as they are wanted, where there is one of each a channel, the second axis."""
    emit = adjoint.emit
    others = emit.axes(*(axis for axis in range(emit.ndim(adjoint.output)) if axis != 1))
    found = {}
    if 1 in adjoint.wanted:
        found[1] = emit("ReduceSum", emit("Mul", adjoint.gradient, normalized), others, keepdims=0)
    if 2 in adjoint.wanted:
        found[2] = emit("ReduceSum", adjoint.gradient, others, keepdims=0)
    return found


def _channels(adjoint: Adjoint, vector: ir.Value) -> ir.Value:
    """Return ``vector``, one entry a channel, with an axis of 1 for each spatial axis."""
    return adjoint.emit("Unsqueeze", vector, adjoint.emit.axes(*range(1, adjoint.emit.ndim(adjoint.output) - 1)))


def _statistics(adjoint: Adjoint) -> tuple[ir.Value, ir.Value]:
    """Have the operator hand out its mean and 1/σ, which are optional outputs."""
    node = adjoint.node
    node.resize_outputs(3)
    for suffix, output in zip(("mean", "inverse_deviation"), node.outputs[1:], strict=True):
        output.name = output.name or f"{adjoint.output.name}/{suffix}"
    return node.outputs[1], node.outputs[2]


def _normalized_axes(adjoint: Adjoint) -> list[int]:
    axes = adjoint.emit.ndim(adjoint.operand(0))
    return list(range(int_attribute(adjoint.node, "axis", -1) % axes, axes))


def _inverse_root(adjoint: Adjoint, variance: ir.Value) -> ir.Value:
    """Return 1/√(variance + ε)."""
    emit, epsilon = adjoint.emit, adjoint.float_attribute("epsilon", 1e-5)
    return emit("Reciprocal", emit("Sqrt", emit("Add", variance, emit.constant(epsilon))))


def _mean(adjoint: Adjoint, entries: ir.Value, axes: list[int]) -> ir.Value:
    """Return the mean along ``axes``, which stay with size 1."""
    emit, total = adjoint.emit, adjoint.emit("ReduceSum", entries, adjoint.emit.axes(*axes))
    if axes[-1] == axes[0] == emit.ndim(adjoint.operand(0)) - 1:  # features, of which there are always as many
        return emit("Mul", total, emit.constant(1 / emit.shape(adjoint.operand(0))[-1]))
    sizes = emit("Gather", emit.shape_of(adjoint.operand(0)), emit.axes(*axes))
    return emit("Div", total, emit("CastLike", emit("ReduceProd", sizes, keepdims=0), total))
