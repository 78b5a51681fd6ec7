"""Putting new nodes and initializers into a graph under names that are free."""

from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


class Inserter:
    """Adds to one graph; it knows the names that are taken."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self._taken = names_in(model)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def node(
        self, op: str, inputs: list[ir.Value | None], *, before: ir.Node, outputs: int = 1, **attributes: Any
    ) -> ir.Value:
        """Insert a node, of ONNX's domain or ``com.microsoft.`` as in `op_of`; return its first output."""
        domain, _, kind = op.rpartition(".")
        while inputs[-1] is None:  # optional operands at the end are left out
            inputs = inputs[:-1]
        name = self._free_name(kind)
        values = [ir.Value(name=self._free_name(f"{name}/output_{number}")) for number in range(outputs)]
        node = ir.Node(domain, kind, inputs, ir.convenience.convert_attributes(attributes), outputs=values, name=name)
        self.graph.insert_before(before, node)
        if domain:
            self.graph.opset_imports.setdefault(domain, 1)
        return values[0]

    def initializer(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """Store ``tensor`` under ``name``, or under one like it if that is taken."""
        tensor.name = self._free_name(name)
        shape = ir.Shape(tensor.shape.numpy())
        value = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def constant(self, entries: np.ndarray) -> ir.Value:
        """Store ``entries``; equal ones are stored once."""
        key = (entries.dtype.str, entries.shape, entries.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer("constant", ir.tensor(entries))
        return self._constants[key]

    def graph_input(self, name: str, dtype: ir.DataType) -> ir.Value:
        """Add an input of shape () to the graph."""
        value = ir.Value(name=self._free_name(name), type=ir.TensorType(dtype), shape=ir.Shape([]))
        self.graph.inputs.append(value)
        return value

    def take_over(self, value: ir.Value, other: ir.Value) -> None:
        """Let ``other`` stand for ``value`` everywhere, under its name, and remove the node that computed it."""
        node = value.producer()
        assert node is not None
        other.name, value.name = value.name, other.name  # the model may return it
        other.type, other.shape = value.type, value.shape
        value.replace_all_uses_with(other, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)

    def drop(self, initializer: ir.Value) -> None:
        """Remove an initializer that nothing uses any more."""
        if not initializer.uses() and not initializer.is_graph_output():
            del self.graph.initializers[str(initializer.name)]

    def _free_name(self, wanted: str) -> str:
        name = free_name(wanted, self._taken)
        self._taken.add(name)
        return name
