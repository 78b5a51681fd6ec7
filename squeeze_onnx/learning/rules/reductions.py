"""Sums and means along axes, and the softmaxes."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint


def reduce_sum(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Every entry of a sum has the gradient of the sum."""
    adjoint.only(0)
    return {0: _spread(adjoint)}


def reduce_mean(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """As a sum, over the number of entries."""
    adjoint.only(0)
    emit = adjoint.emit
    count = emit("Div", emit("Size", adjoint.operand(0)), emit("Size", adjoint.output))
    return {0: emit("Div", _spread(adjoint), emit("CastLike", count, adjoint.gradient))}


def reduce_sum_square(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = Σ x²: dx = 2 dy · x."""
    adjoint.only(0)
    emit = adjoint.emit
    return {0: emit("Mul", adjoint.operand(0), emit("Mul", kept(adjoint, adjoint.gradient), emit.constant(2)))}


def softmax(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = softmax x: dx = y (dy − Σ dy·y)."""
    emit, y = adjoint.emit, adjoint.output
    mean = emit("ReduceSum", emit("Mul", adjoint.gradient, y), emit.axes(int_attribute(adjoint.node, "axis", -1)))
    return {0: emit("Mul", y, emit("Sub", adjoint.gradient, mean))}


def log_softmax(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = log softmax x: dx = dy − eʸ Σ dy."""
    emit, y = adjoint.emit, adjoint.output
    total = emit("ReduceSum", adjoint.gradient, emit.axes(int_attribute(adjoint.node, "axis", -1)))
    return {0: emit("Sub", adjoint.gradient, emit("Mul", emit("Exp", y), total))}


def kept(adjoint: Adjoint, value: ir.Value) -> ir.Value:
    """Return ``value``, shaped as the output, with the size 1 along the axes that were reduced, as if they had been kept."""
    emit = adjoint.emit
    if emit.ndim(adjoint.operand(0)) == emit.ndim(adjoint.output):
        return value
    return emit("Reshape", value, _shape_with_ones(adjoint))


def _spread(adjoint: Adjoint) -> ir.Value:
    """Repeat the gradient along the axes that were reduced."""
    return adjoint.emit("Expand", kept(adjoint, adjoint.gradient), adjoint.emit.shape_of(adjoint.operand(0)))


def _shape_with_ones(adjoint: Adjoint) -> ir.Value:
    """Return the shape of the operand with the size 1 wherever it was reduced."""
    emit, x = adjoint.emit, adjoint.operand(0)
    if not adjoint.emit.ndim(adjoint.output):
        return emit.axes(*[1] * emit.ndim(x))
    axes = adjoint.node.attributes.get("axes")
    reduced = emit.axes(*axes.as_ints()) if axes is not None else adjoint.operand(1)
    ones = emit("Expand", emit.constant([1], np.int64), emit("Shape", reduced))
    return emit("ScatterElements", emit.shape_of(x), reduced, ones)
