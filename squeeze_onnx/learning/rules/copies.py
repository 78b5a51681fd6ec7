"""Operators that repeat entries or surround them; the gradients of all copies are summed."""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute, operand
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.learning.rules.picking import by_positions


def expand(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """What was broadcast is summed."""
    adjoint.only(0)
    return {0: adjoint.emit.sum_to(adjoint.gradient, adjoint.output, adjoint.operand(0))}


def tile(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Every axis of y is so many repetitions by the size of x: those are summed."""
    adjoint.only(0)
    emit, x, repeats = adjoint.emit, adjoint.operand(0), adjoint.operand(1)
    columns = [emit("Unsqueeze", sizes, emit.axes(-1)) for sizes in (repeats, emit.shape_of(x))]
    apart = emit("Reshape", emit("Concat", *columns, axis=1), emit.axes(-1))
    copies = emit.axes(*range(0, 2 * emit.ndim(x), 2))
    return {0: emit("ReduceSum", emit("Reshape", adjoint.gradient, apart), copies, keepdims=0)}


def pad(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """What surrounds x is cut off; what is reflected or repeated there adds to what it is a copy of."""
    adjoint.only(0)
    mode = adjoint.node.attributes.get("mode")
    if mode is not None and mode.as_string() != "constant":
        return by_positions(adjoint)
    emit = adjoint.emit
    return {0: emit("Pad", adjoint.gradient, emit("Neg", adjoint.operand(1)), None, operand(adjoint.node, 3))}


def running_sum(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """CumSum: an entry counts in all that come after it, so the gradient is summed from the other end."""
    adjoint.only(0)
    node = adjoint.node
    backwards = 1 - int_attribute(node, "reverse")
    exclusive = int_attribute(node, "exclusive")
    emit = adjoint.emit
    return {0: emit("CumSum", adjoint.gradient, adjoint.operand(1), reverse=backwards, exclusive=exclusive)}


def triangle(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Trilu: the same triangle of the gradient."""
    adjoint.only(0)
    node = adjoint.node
    return {0: adjoint.emit("Trilu", adjoint.gradient, operand(node, 1), upper=int_attribute(node, "upper", 1))}
