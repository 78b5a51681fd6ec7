"""Which entries of a model learn, and how they are read and replaced."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.dataflow import data_inputs, upstream
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of


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


def read_entries(model: ir.Model, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the initializers ``names`` of ``model``."""
    entries = {}
    for name in names:
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        entries[name] = tensor.numpy()
    return entries


def put_entries(model: ir.Model, entries: Mapping[str, np.ndarray]) -> None:
    """Replace initializers of ``model`` by copies of ``entries``."""
    for name, array in entries.items():
        model.graph.initializers[name].const_value = ir.tensor(array.copy(), name=name)


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
