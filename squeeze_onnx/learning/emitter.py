"""Appending nodes to a graph, one call an operator, with the shapes that a rule of differentiation asks for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in

Shape = tuple[int, ...]


class Emitter:
    """Appends nodes to the main graph of ``model``.

    ``shapes`` are the sizes that values had in a run on some batch (`learning.shapes`): how many axes a value has, and along
    which ones it is broadcast, hold for every batch; other sizes are asked for at run time (`shape_of`).
    """

    def __init__(self, model: ir.Model, prefix: str, shapes: Mapping[str, Shape] | None = None) -> None:
        self._graph = model.graph
        self._prefix = prefix
        self._taken = names_in(model)
        self._shapes = shapes or {}
        self._constants: dict[tuple[str, Shape, bytes], ir.Value] = {}
        self._runtime_shapes: dict[ir.Value, ir.Value] = {}

    def __call__(self, op: str, *operands: ir.Value | None, **attributes: Any) -> ir.Value:
        """Append ``op``, an operator of ONNX's own domain, and return its only output."""
        name = self._free_name(op)
        node = ir.node(op, list(operands), attributes, name=name)
        (output,) = node.outputs
        output.name = name
        self._graph.append(node)
        return output

    def value(self, name: str) -> ir.Value:
        """Return the value that a node of the graph returns under this name."""
        return next(output for node in self._graph for output in node.outputs if output.name == name)

    def constant(self, entries: Any, dtype: type[np.generic] = np.float32) -> ir.Value:
        """Return an initializer of ``entries``; equal ones are one."""
        array = np.asarray(entries, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            tensor = ir.tensor(array, name=self._free_name("constant"))
            value = ir.Value(
                name=tensor.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
            )
            self._graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def axes(self, *axes: int) -> ir.Value:
        """Return a constant list of int64, as operators take axes and shapes."""
        return self.constant(list(axes), np.int64)

    def shape(self, value: ir.Value) -> Shape:
        """Return the sizes that a value of the model itself had when it was traced."""
        return self._shapes[str(value.name)]

    def ndim(self, value: ir.Value) -> int:
        """Return how many axes a value of the model itself has."""
        return len(self.shape(value))

    def shape_of(self, value: ir.Value) -> ir.Value:
        """Return the shape of ``value`` at run time."""
        if value not in self._runtime_shapes:
            self._runtime_shapes[value] = self("Shape", value)
        return self._runtime_shapes[value]

    def reshape_like(self, entries: ir.Value, value: ir.Value) -> ir.Value:
        """Give ``entries`` the shape of ``value``."""
        return self("Reshape", entries, self.shape_of(value), allowzero=1)

    def zeros(self, shape: ir.Value) -> ir.Value:
        """Return zeros of a shape that is known at run time."""
        return self("ConstantOfShape", shape, value=ir.tensor(np.zeros(1, np.float32)))

    def zeros_like(self, value: ir.Value) -> ir.Value:
        """Return zeros in the shape of ``value``."""
        return self.zeros(self.shape_of(value))

    def pad(self, entries: ir.Value, before: ir.Value, after: ir.Value, axes: ir.Value) -> ir.Value:
        """Surround ``entries`` by zeros along ``axes``, a list; where there is a negative number of them, cut off as many.

        Without axes of its own, which Pad takes since opset 18, it is told all of them.
        """
        every = self("ConstantOfShape", self("Shape", self("Shape", entries)), value=ir.tensor(np.zeros(1, np.int64)))
        sides = [self("ScatterElements", every, axes, side) for side in (before, after)]
        return self("Pad", entries, self("Concat", *sides, axis=0))

    def rows(self, entries: ir.Value, features: int) -> ir.Value:
        """Flatten ``entries`` (..., features) to (rows, features)."""
        return self("Reshape", entries, self.axes(-1, features))

    def sum_rows(self, rows: ir.Value) -> ir.Value:
        """Sum (rows, features) to (features,)."""
        return self("ReduceSum", rows, self.axes(0), keepdims=0)

    def sum_to(self, gradient: ir.Value, result: ir.Value, operand: ir.Value) -> ir.Value:
        """Sum ``gradient``, shaped as ``result``, over the axes along which ``operand`` was broadcast to ``result``."""
        wide, narrow = self.shape(result), self.shape(operand)
        if wide == narrow:
            return gradient
        if len(narrow) == 1 and wide[-1:] == narrow:
            return self.sum_rows(self.rows(gradient, *narrow))
        leading = len(wide) - len(narrow)
        stretched = [axis for axis in range(leading, len(wide)) if narrow[axis - leading] == 1 != wide[axis]]
        summed = self("ReduceSum", gradient, self.axes(*range(leading), *stretched), keepdims=int(bool(stretched)))
        return self.reshape_like(summed, operand) if leading and stretched else summed

    def _free_name(self, suffix: str) -> str:
        name = free_name(f"{self._prefix}/{suffix}", self._taken)
        self._taken.add(name)
        return name
