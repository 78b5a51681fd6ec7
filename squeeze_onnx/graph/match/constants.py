"""Constant matrices: what an operand holds, however the exporter wrote it down.

    stored tensor ─► [Cast | DequantizeLinear]* and [Identity | Transpose]* in any order ─► operand

Exporters keep weights as initializers or as Constant nodes, and put Identity (tied weights), Transpose (tied
embeddings), Cast (mixed precision) and DequantizeLinear (QDQ models) between the weight and its consumer. Nothing is
read from disk before `ConstantMatrix.numpy`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import AXES_OPERANDS, int_attribute, op_of

FLOAT_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
TRY_DEQUANTIZING = "`dequantize` turns integers back into floats"
_ROUNDED_TYPES = frozenset({ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4})


class Decoding(Protocol):
    """One change of the entries between the stored tensor and the operand."""

    @property
    def dtype(self) -> ir.DataType:
        """The type of the entries afterwards."""
        ...

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """Return the decoded entries, in the layout of the stored tensor."""
        ...


@dataclass(frozen=True)
class Cast:
    """A Cast between float types."""

    dtype: ir.DataType

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """Round to the type."""
        return stored.astype(self.dtype.numpy())


@dataclass(frozen=True)
class Dequantization:
    """DequantizeLinear: (q − zero point) · scale, with one scale, or one for each index of ``axis`` as stored."""

    scale: ir.TensorProtocol
    zero_point: ir.TensorProtocol | None
    axis: int
    dtype: ir.DataType

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """Return the real entries."""
        # float32 holds every integer that quantized weights use, and the difference of two of them, exactly.
        entries = stored.astype(np.float32)
        if self.zero_point is not None:
            entries -= self._along_axis(self.zero_point).astype(np.float32)
        entries *= self._along_axis(self.scale).astype(np.float32)
        return entries.astype(self.dtype.numpy(), copy=False)

    def _along_axis(self, parameter: ir.TensorProtocol) -> np.ndarray:
        return parameter.numpy().reshape((-1, 1) if self.axis == 0 else (1, -1))


@dataclass(frozen=True, eq=False)
class ConstantMatrix:
    """A constant 2-D operand and the way it is reached.

    source: the value that is stored: an initializer, or the output of a Constant node.
    tensor: what it stores, not read yet.
    decoding: what happens to its entries, in the layout of the source.
    transposed: whether the operand is the transpose of the source.
    """

    source: ir.Value
    tensor: ir.TensorProtocol
    decoding: tuple[Decoding, ...] = ()
    transposed: bool = False

    @property
    def name(self) -> str:
        """The name of the stored value."""
        return str(self.source.name)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) as the consumer sees them."""
        rows, columns = self.tensor.shape.numpy()
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def dtype(self) -> ir.DataType:
        """The type of the entries as the consumer sees them."""
        return self.decoding[-1].dtype if self.decoding else self.tensor.dtype

    @property
    def stored_bytes(self) -> int:
        """How many bytes the tensor takes in the file; scales and zero points are not counted."""
        return self.tensor.nbytes

    def transpose(self) -> "ConstantMatrix":
        """Return the transposed matrix: the same stored tensor, seen from the other side."""
        return replace(self, transposed=not self.transposed)

    def same_as(self, other: "ConstantMatrix") -> bool:
        """Whether both are the same matrix read from the same stored tensor."""
        return (self.source, self.decoding, self.transposed) == (other.source, other.decoding, other.transposed)

    def numpy(self) -> np.ndarray:
        """Read and decode the matrix: float64 if the consumer sees DOUBLE, float32 otherwise."""
        entries = self.tensor.numpy()
        for decoding in self.decoding:
            entries = decoding.apply(entries)
        entries = entries.astype(np.float64 if self.dtype == ir.DataType.DOUBLE else np.float32, copy=False)
        return entries.T if self.transposed else entries


@dataclass(frozen=True)
class UnusableConstant:
    """A constant operand that is no matrix this package can rewrite.

    tensor: what is stored, not read.
    reason: continues a sentence that begins with the name of the operator, such as "MatMul ...".
    """

    tensor: ir.TensorProtocol
    reason: str


def resolve_constant(value: ir.Value | None) -> ConstantMatrix | UnusableConstant | None:
    """Return the constant matrix behind ``value``, or why it is unusable, or None if it is computed at run time."""
    links: list[ir.Node] = []
    while value is not None and (node := value.producer()) is not None and op_of(node) in _LINKS:
        links.append(node)
        value = node.inputs[0]
    tensor = None if value is None else _stored_tensor(value)
    if value is None or tensor is None:
        return None
    matrix = _as_stored(value, tensor)
    for node in reversed(links):
        if isinstance(matrix, ConstantMatrix):
            matrix = _LINKS[op_of(node)](node, matrix)
    if isinstance(matrix, ConstantMatrix) and matrix.dtype not in FLOAT_TYPES:
        way_out = f"; {TRY_DEQUANTIZING}" if matrix.dtype in _ROUNDED_TYPES else ""
        return UnusableConstant(tensor, f"has a constant of type {matrix.dtype.name}, not a float weight{way_out}")
    return matrix


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the constant tensor behind ``value``, looking through Identity, without reading it; None if it is computed."""
    while value is not None and (node := value.producer()) is not None and op_of(node) == "Identity":
        value = node.inputs[0]
    return _fixed_tensor(value)


def constant_vector(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the constant 1-D tensor behind ``value``, as `constant_tensor` does; None if it is none."""
    tensor = constant_tensor(value)
    return tensor if tensor is not None and len(tensor.shape) == 1 else None


def is_constant(value: ir.Value | None) -> bool:
    """Whether ``value`` is known before the model runs: usable as a weight or not."""
    return resolve_constant(value) is not None


def foldable_values(graph: ir.Graph) -> frozenset[ir.Value]:
    """Return the values that nodes of ``graph`` compute from constants alone."""
    found: set[ir.Value] = set()
    for node in graph:
        operands = [value for value in node.inputs if value is not None]
        if operands and all(value in found or _fixed_tensor(value) is not None for value in operands):
            found.update(node.outputs)
    return frozenset(found)


def constant_axes(node: ir.Node) -> tuple[int, ...]:
    """Return the axes that ``node`` works on, from its attribute or its constant operand; () if they are not fixed."""
    attribute = node.attributes.get("axes")
    if attribute is not None:
        return tuple(attribute.as_ints())
    index = AXES_OPERANDS[op_of(node)]
    tensor = _fixed_tensor(node.inputs[index]) if index < len(node.inputs) else None
    return () if tensor is None else tuple(tensor.numpy().ravel().tolist())


def uses_of_constant(source: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """Yield each (node, operand) that uses a stored tensor, looking through what `resolve_constant` looks through."""
    for view in views_of(source):
        for node, index in view.uses():
            if not _is_link(node, index):
                yield node, index


def reaches_graph_output(source: ir.Value) -> bool:
    """Whether a stored tensor, as it is or decoded, is an output of the graph."""
    return any(view.is_graph_output() for view in views_of(source))


def views_of(source: ir.Value) -> Iterator[ir.Value]:
    """Yield a stored tensor, then every value that shows it through the operators that `resolve_constant` looks through."""
    yield source
    for node, index in source.uses():
        if _is_link(node, index):
            yield from views_of(node.outputs[0])


def _is_link(node: ir.Node, index: int) -> bool:
    return index == 0 and op_of(node) in _LINKS


def _stored_tensor(value: ir.Value) -> ir.TensorProtocol | None:
    """Return the tensor of an initializer or of a Constant node's `value`, without reading it."""
    node = value.producer()
    if node is None:
        return value.const_value
    attribute = node.attributes.get("value") if op_of(node) == "Constant" else None
    return None if attribute is None or attribute.is_ref() else attribute.as_tensor()


def _fixed_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    return None if value is None or value.is_graph_input() else _stored_tensor(value)


def _as_stored(source: ir.Value, tensor: ir.TensorProtocol) -> ConstantMatrix | UnusableConstant:
    shape = list(tensor.shape.numpy())
    if source.is_graph_input():
        return UnusableConstant(
            tensor,
            f"has a weight, {source.name!r}, that is also a graph input, so a caller may override it; "
            "`freeze_inputs` makes it a constant",
        )
    if len(shape) != 2:
        return UnusableConstant(tensor, f"has a constant of shape {shape}, not a matrix")
    if 0 in shape:
        return UnusableConstant(tensor, f"has an empty constant of shape {shape}")
    return ConstantMatrix(source, tensor)


def _through_identity(node: ir.Node, matrix: ConstantMatrix) -> ConstantMatrix:
    return matrix


def _through_transpose(node: ir.Node, matrix: ConstantMatrix) -> ConstantMatrix:
    permutation = node.attributes.get("perm")
    swaps = permutation is None or tuple(permutation.as_ints()) == (1, 0)
    return matrix.transpose() if swaps else matrix


def _through_cast(node: ir.Node, matrix: ConstantMatrix) -> ConstantMatrix | UnusableConstant:
    target = ir.DataType(int_attribute(node, "to"))
    if not {matrix.dtype, target} <= FLOAT_TYPES:
        return UnusableConstant(
            matrix.tensor, f"has a weight cast from {matrix.dtype.name} to {target.name}, not between float types"
        )
    return replace(matrix, decoding=(*matrix.decoding, Cast(target)))


def _through_dequantization(node: ir.Node, matrix: ConstantMatrix) -> ConstantMatrix | UnusableConstant:
    scale, zero_point = (_fixed_tensor(value) for value in (*node.inputs[1:], None)[:2])
    has_zero_point = len(node.inputs) > 2 and node.inputs[2] is not None
    if scale is None or (zero_point is None and has_zero_point):
        return UnusableConstant(matrix.tensor, "has a quantized weight whose scale or zero point is not constant")
    axis = int_attribute(node, "axis", 1) % 2
    if len(scale.shape) > 1 or scale.size not in (1, matrix.shape[axis]):
        return UnusableConstant(
            matrix.tensor,
            "has a quantized weight with neither one scale nor one for each row or column; "
            "squeeze the float model first and quantize afterwards",
        )
    stored_axis = 1 - axis if matrix.transposed else axis
    dtype = ir.DataType(int_attribute(node, "output_dtype")) or scale.dtype
    return replace(matrix, decoding=(*matrix.decoding, Dequantization(scale, zero_point, stored_axis, dtype)))


# The operators between a stored weight and its consumer, and what each does to the matrix.
_LINKS: dict[str, Callable[[ir.Node, ConstantMatrix], ConstantMatrix | UnusableConstant]] = {
    "Identity": _through_identity,
    "Transpose": _through_transpose,
    "Cast": _through_cast,
    "DequantizeLinear": _through_dequantization,
    "com.microsoft.DequantizeLinear": _through_dequantization,
}
