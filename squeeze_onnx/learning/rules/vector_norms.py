"""Norms and products along axes."""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.learning.rules.reductions import kept
from squeeze_onnx.support.errors import ModelError


def reduce_l1(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = Σ |x|: dx = dy · sign(x)."""
    adjoint.only(0)
    emit = adjoint.emit
    return {0: emit("Mul", emit("Sign", adjoint.operand(0)), kept(adjoint, adjoint.gradient))}


def reduce_l2(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = √Σ x²: dx = dy · x/y, and 0 where y is 0."""
    adjoint.only(0)
    emit, zero = adjoint.emit, adjoint.emit.constant(0)
    norm = kept(adjoint, adjoint.output)
    share = emit("Where", emit("Greater", norm, zero), emit("Div", kept(adjoint, adjoint.gradient), norm), zero)
    return {0: emit("Mul", adjoint.operand(0), share)}


def reduce_product(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = Π x: dx is dy times the product of the others, which is not 0 at a single zero."""
    adjoint.only(0)
    emit, x, zero, one = adjoint.emit, adjoint.operand(0), adjoint.emit.constant(0), adjoint.emit.constant(1)
    is_zero = emit("Equal", x, zero)
    zeros = kept(adjoint, adjoint.sum_along(emit("Cast", is_zero, to=ir.DataType.FLOAT)))
    without = emit("Where", is_zero, one, x)
    product = kept(adjoint, emit("ReduceProd", without, *adjoint.node.inputs[1:], **adjoint.node.attributes))
    at_zeros = emit("Where", emit("Equal", zeros, one), product, zero)
    elsewhere = emit("Where", emit("Equal", zeros, zero), emit("Div", product, without), zero)
    return {0: emit("Mul", kept(adjoint, adjoint.gradient), emit("Where", is_zero, at_zeros, elsewhere))}


def lp_normalization(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x/‖x‖ along an axis: dx = (dy − d‖x‖/dx · Σ dy·y)/‖x‖, where the norm's slope is sign(x), or y itself."""
    emit, x, y = adjoint.emit, adjoint.operand(0), adjoint.output
    axis, order = int_attribute(adjoint.node, "axis", -1), int_attribute(adjoint.node, "p", 2)
    if order not in (1, 2):
        raise ModelError(f"{adjoint.called} is of the order {order}, which has no rule of differentiation: use 1 or 2")
    axes = emit.axes(axis)
    if order == 1:
        norm, slope = emit("ReduceSum", emit("Abs", x), axes), emit("Sign", x)
    else:
        norm, slope = emit("Sqrt", emit("ReduceSum", emit("Mul", x, x), axes)), y
    along = emit("ReduceSum", emit("Mul", adjoint.gradient, y), axes)
    change = emit("Div", emit("Sub", adjoint.gradient, emit("Mul", slope, along)), norm)
    return {0: emit("Where", emit("Greater", norm, emit.constant(0)), change, emit.constant(0))}
