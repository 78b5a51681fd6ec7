"""Giving a node another operand, and removing what nothing needs any more then."""

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import views_of
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite


def exchange(node: ir.Node, operand: int, value: ir.Value) -> None:
    """Let ``node`` read ``value`` as its ``operand``, and remove what it read if nothing else needs it."""
    old = node.inputs[operand]
    node.replace_input_with(operand, value)
    if old is not None:
        remove_unused(old)


def set_weight(node: ir.Node, value: ir.Value) -> None:
    """Give ``node`` the constant ``value`` (in, out) as its weight."""
    operator = WEIGHT_OPERATORS[op_of(node)]
    node.replace_input_with(operator.weight, value)
    if operator.transpose is not None:
        node.attributes.pop(operator.transpose, None)


def remove_old_weight(site: MatMulSite) -> None:
    """Remove what the weight of ``site`` was stored in and read through, as far as nothing needs it."""
    for view in reversed(list(views_of(site.weight.source))):
        remove_unused(view)


def remove_unused(value: ir.Value) -> None:
    """Remove ``value``, and what it alone was computed from, if nothing needs it."""
    node, graph = value.producer(), value.graph
    if graph is None or value.uses() or value.is_graph_output():
        return  # removed before, or needed
    if node is None:
        graph.initializers.pop(str(value.name), None)  # an input of the graph stays
        return
    operands = [operand for operand in node.inputs if operand is not None]
    graph.remove(node, safe=True)
    for operand in operands:  # a scale or a zero point, if this was their last use
        remove_unused(operand)
