"""Which entries of a model learn."""

from collections.abc import Sequence

import onnx_ir as ir

from squeeze_onnx.graph.dataflow import data_inputs, upstream
from squeeze_onnx.graph.operators import WEIGHT_OPERATORS, op_of


def learnable_parameters(model: ir.Model, values: Sequence[str]) -> tuple[str, ...]:
    """Return the float32 initializers that the named ``values`` depend on: factors, weights, biases, norms, in graph order.

    Lookup tables are left alone: they are large, and a batch says something about few of their rows. So are scalars, which are
    constants of formulas.
    """
    known = {str(output.name): output for node in model.graph for output in node.outputs}
    nodes = {node for value in values for node in upstream(known[value], lambda _: False)}
    nodes.update(node for value in values if (node := known[value].producer()) is not None)
    found = dict.fromkeys(
        str(operand.name)
        for node in model.graph
        if node in nodes
        for operand in data_inputs(node)
        if _learns(node, operand)
    )
    return tuple(found)


def _learns(node: ir.Node, operand: ir.Value) -> bool:
    operator = WEIGHT_OPERATORS.get(op_of(node))
    if operator is not None and operator.lookup:
        return False
    tensor = operand.const_value
    return (
        operand.is_initializer()
        and tensor is not None
        and tensor.dtype == ir.DataType.FLOAT
        and len(tensor.shape) > 0
        and tensor.size > 1
    )
