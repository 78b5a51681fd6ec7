"""Which entries of a model learn, and how they are read and replaced."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import LOOKUP, op_of
from squeeze_onnx.learning.slopes import slope_operands

_PICKING = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
"""What picks of a table: of its rows a batch reads few, or those of the positions that there are."""

_ANGLES = frozenset({"Cos", "Sin"})

_AXES_OF_A_TEXT = 2

_ENTRY_BY_ENTRY = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum", "Where"})

_FROZEN_OPERANDS: dict[str, frozenset[int]] = {
    "Attention": frozenset({3}),
    "BatchNormalization": frozenset({3, 4}),
    "RotaryEmbedding": frozenset({1, 2}),
    "com.microsoft.Attention": frozenset({3, 5}),
    "com.microsoft.GroupQueryAttention": frozenset({7, 8}),
    "com.microsoft.MultiHeadAttention": frozenset({4, 5}),
    "com.microsoft.RotaryEmbedding": frozenset({2, 3}),
}
"""Operands that are masks, tables of positions or statistics."""


def learnable_parameters(model: ir.Model, values: Sequence[str]) -> tuple[str, ...]:
    """Return the float32 initializers that the named ``values`` depend on: factors, weights, biases, norms, in graph order.

    A parameter meets what was made of the data. Left alone are

    - lookup tables and what else is picked from: they are large, and a batch says something about few of their rows;
    - scalars, which are constants of formulas;
    - tables that are added or multiplied entry by entry: embeddings and rotations of positions, masks and biases of scores;
    - what meets positions only, such as the frequencies of rotations, masks, and statistics of the training.
    """
    known = {str(output.name): output for node in model.graph for output in node.outputs}
    behind = _upstream([known[value] for value in values if value in known])
    data = _made_of_data(model.graph)
    meetings = {
        str(value.name): list(_meetings(value, data))
        for value in model.graph.initializers.values()
        if _is_candidate(value)
    }
    found = {name for name, nodes in meetings.items() if not behind.isdisjoint(nodes)}
    order = dict.fromkeys(
        str(value.name) for node in model.graph for value in node.inputs if value is not None and value.name in found
    )
    return tuple(order)


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


def _upstream(values: Sequence[ir.Value]) -> set[ir.Node]:
    """Return the nodes with whose outputs ``values`` change smoothly."""
    found: set[ir.Node] = set()
    pending = list(values)
    while pending:
        node = pending.pop().producer()
        if node is not None and node not in found:
            found.add(node)
            pending.extend(value for index in slope_operands(node) if (value := node.inputs[index]) is not None)
    return found


def _is_candidate(value: ir.Value) -> bool:
    tensor = value.const_value
    return (
        tensor is not None
        and not value.is_graph_input()
        and tensor.dtype == ir.DataType.FLOAT
        and len(tensor.shape) > 0
        and tensor.size > 1
        and not any(op_of(node) == LOOKUP and index == 0 for node, index in value.uses())
    )


def _meetings(parameter: ir.Value, data: set[ir.Value]) -> Iterator[ir.Node]:
    """Yield the nodes at which ``parameter``, by itself or transposed, scaled and the like, meets what was made of ``data``."""
    pending, seen = [parameter], {parameter}
    while pending:
        value = pending.pop()
        for node, index in value.uses():
            if index not in slope_operands(node) or _is_frozen(node, index, parameter):
                continue
            others = [other for place in slope_operands(node) if (other := node.inputs[place]) is not value]
            if any(other in data for other in others):
                yield node
            elif all(other is not None and (other in seen or constant_tensor(other) is not None) for other in others):
                pending.extend(output for output in node.outputs if output not in seen)
                seen.update(node.outputs)


def _is_frozen(node: ir.Node, index: int, parameter: ir.Value) -> bool:
    """Whether ``node`` uses its operand ``index``, which comes from ``parameter``, as something that does not learn."""
    op = op_of(node)
    if op in _PICKING or op in _ANGLES or index in _FROZEN_OPERANDS.get(op, ()):
        return True
    tensor = parameter.const_value
    assert tensor is not None
    return op in _ENTRY_BY_ENTRY and sum(size > 1 for size in tensor.shape.numpy()) > 1


def _made_of_data(graph: ir.Graph) -> set[ir.Value]:
    """Return the values that are made of what the model is fed: of float inputs, of images, and of what is picked from tables.

    Numbers of positions and masks are not: integers that are cast say where something is, not what.
    """
    found = {value for value in graph.inputs if value.dtype is not None and value.dtype.is_floating_point()}
    images = {value for value in graph.inputs if value.shape is not None and len(value.shape) > _AXES_OF_A_TEXT}
    for node in graph:
        operands = [node.inputs[index] for index in slope_operands(node)]
        looked_up = op_of(node) in _PICKING and constant_tensor(node.inputs[0]) is not None
        is_cast_image = op_of(node) == "Cast" and node.inputs[0] in images
        if looked_up or is_cast_image or any(value in found for value in operands):
            found.update(node.outputs)
    return found
