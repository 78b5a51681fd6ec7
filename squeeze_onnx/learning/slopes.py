"""Through which operators a small change of a value changes what comes after it."""

from collections.abc import Iterable

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import data_operands, int_attribute, op_of

WITHOUT_SLOPE = frozenset(
    {
        "And",
        "ArgMax",
        "ArgMin",
        "Ceil",
        "ConstantOfShape",
        "Equal",
        "EyeLike",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "Hardmax",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "Round",
        "Sign",
        "Xor",
    }
)
"""What these return stays or jumps: nothing is learned through it."""


def slope_operands(node: ir.Node) -> tuple[int, ...]:
    """Return the positions of the operands with which the output of ``node`` changes smoothly."""
    if op_of(node) in WITHOUT_SLOPE or _casts_to_integers(node):
        return ()
    return tuple(index for index in data_operands(node) if node.inputs[index] is not None)


def varying_with(sources: Iterable[ir.Value], nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """Return the values that change, smoothly, with one of ``sources``, themselves included; ``nodes`` are in graph order."""
    reached = set(sources)
    for node in nodes:
        if any(node.inputs[index] in reached for index in slope_operands(node)):
            reached.update(node.outputs)
    return reached


def _casts_to_integers(node: ir.Node) -> bool:
    return op_of(node) == "Cast" and not ir.DataType(int_attribute(node, "to")).is_floating_point()
