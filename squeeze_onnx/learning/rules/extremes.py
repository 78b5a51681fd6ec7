"""Largest and smallest of several entries, and limits; those that are equally large share the gradient evenly."""

from collections.abc import Mapping
from functools import reduce

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute, operand
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.learning.rules.reductions import kept


def clip(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x between the limits: y′ = 1 there and at them, else 0."""
    adjoint.only(0)
    emit, node, x = adjoint.emit, adjoint.node, adjoint.operand(0)
    lowest, highest = operand(node, 1), operand(node, 2)
    gradient, zero = adjoint.gradient, emit.constant(0)
    if lowest is not None:
        gradient = emit("Where", emit("GreaterOrEqual", x, lowest), gradient, zero)
    if highest is not None:
        gradient = emit("Where", emit("LessOrEqual", x, highest), gradient, zero)
    return {0: gradient}


def extreme_of_values(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Max and Min of any number of operands, with broadcasting."""
    emit, y = adjoint.emit, adjoint.output
    chosen = [_equal(adjoint, adjoint.given(value), y) for value in adjoint.node.inputs]
    share = emit("Div", adjoint.gradient, reduce(lambda left, right: emit("Add", left, right), chosen))
    return {
        index: emit.sum_to(emit("Mul", share, chosen[index]), y, adjoint.operand(index)) for index in adjoint.wanted
    }


def reduce_extreme(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """ReduceMax and ReduceMin."""
    adjoint.only(0)
    emit, x = adjoint.emit, adjoint.operand(0)
    chosen = _equal(adjoint, x, kept(adjoint, adjoint.output))
    count = kept(adjoint, adjoint.sum_along(chosen))
    return {0: emit("Mul", chosen, emit("Div", kept(adjoint, adjoint.gradient), count))}


def largest(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """TopK: the values go back to where they came from."""
    adjoint.only(0)
    emit, (_, places) = adjoint.emit, adjoint.node.outputs
    places.name = places.name or f"{adjoint.output.name}/places"
    axis = int_attribute(adjoint.node, "axis", -1)
    return {0: emit("ScatterElements", emit.zeros_like(adjoint.operand(0)), places, adjoint.gradient, axis=axis)}


def _equal(adjoint: Adjoint, value: ir.Value, extreme: ir.Value) -> ir.Value:
    """Return 1 where ``value`` is ``extreme``, 0 elsewhere."""
    return adjoint.emit("Cast", adjoint.emit("Equal", value, extreme), to=ir.DataType.FLOAT)
