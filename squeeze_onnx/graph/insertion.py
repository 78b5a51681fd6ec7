"""Putting new nodes and initializers into a graph under names that are free."""

from typing import Any

import onnx_ir as ir

from squeeze_onnx.graph.names import free_name, names_in

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


class Inserter:
    """Adds to one graph; it knows the names that are taken."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self._taken = names_in(model)

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

    def _free_name(self, wanted: str) -> str:
        name = free_name(wanted, self._taken)
        self._taken.add(name)
        return name
