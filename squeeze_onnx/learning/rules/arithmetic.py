"""Operators on two values, entry by entry, with broadcasting."""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.learning.rules.base import Adjoint


def add(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = a + b; Sum takes any number of operands."""
    return {index: _to_operand(adjoint, adjoint.gradient, index) for index in adjoint.wanted}


def mean(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y is the mean of any number of operands."""
    share = adjoint.emit("Mul", adjoint.gradient, adjoint.emit.constant(1 / len(adjoint.node.inputs)))
    return {index: _to_operand(adjoint, share, index) for index in adjoint.wanted}


def sub(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = a − b."""
    found = {}
    if 0 in adjoint.wanted:
        found[0] = _to_operand(adjoint, adjoint.gradient, 0)
    if 1 in adjoint.wanted:
        found[1] = adjoint.emit("Neg", _to_operand(adjoint, adjoint.gradient, 1))
    return found


def mul(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = a · b: da = dy · b, db = dy · a."""
    return {
        index: _to_operand(adjoint, adjoint.emit("Mul", adjoint.gradient, adjoint.operand(1 - index)), index)
        for index in adjoint.wanted
    }


def div(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = a / b: da = dy / b, db = −dy · y / b."""
    emit, b = adjoint.emit, adjoint.operand(1)
    quotient = emit("Div", adjoint.gradient, b)
    found = {}
    if 0 in adjoint.wanted:
        found[0] = _to_operand(adjoint, quotient, 0)
    if 1 in adjoint.wanted:
        found[1] = emit("Neg", _to_operand(adjoint, emit("Mul", quotient, adjoint.output), 1))
    return found


def power(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = aᵇ: da = dy · b · aᵇ⁻¹, db = dy · y · log a."""
    emit, (a, b) = adjoint.emit, (adjoint.operand(0), adjoint.operand(1))
    found = {}
    if 0 in adjoint.wanted:
        lower = emit("Pow", a, emit("Sub", b, emit("CastLike", emit.constant(1), b)))
        found[0] = _to_operand(adjoint, emit("Mul", adjoint.gradient, emit("Mul", lower, emit("CastLike", b, a))), 0)
    if 1 in adjoint.wanted:
        slope = emit("Mul", adjoint.output, emit("Log", a))
        found[1] = _to_operand(adjoint, emit("Mul", adjoint.gradient, slope), 1)
    return found


def where(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = a where the condition holds, b elsewhere."""
    emit, condition, zero = adjoint.emit, adjoint.operand(0), adjoint.emit.constant(0)
    found = {}
    if 1 in adjoint.wanted:
        found[1] = _to_operand(adjoint, emit("Where", condition, adjoint.gradient, zero), 1)
    if 2 in adjoint.wanted:
        found[2] = _to_operand(adjoint, emit("Where", condition, zero, adjoint.gradient), 2)
    return found


def _to_operand(adjoint: Adjoint, gradient: ir.Value, index: int) -> ir.Value:
    return adjoint.emit.sum_to(gradient, adjoint.output, adjoint.operand(index))
