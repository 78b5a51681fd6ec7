"""Writing heads in normal form: see `squeeze_onnx.graph.rewrite.normal_heads`."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.match.attention_parts import COPIED, INFERRED, NATURAL
from squeeze_onnx.graph.match.caches import is_shown
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.consumers import find_bias_at
from squeeze_onnx.graph.match.head_joins import HeadJoin
from squeeze_onnx.graph.match.head_sources import HeadSource, Size
from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.graph.match.operators import int_attribute, op_of
from squeeze_onnx.graph.match.rotation_layouts import Repeated
from squeeze_onnx.graph.match.rotations import Rotation
from squeeze_onnx.graph.rewrite.insertion import Inserter

_BY_HEAD = (0, 2, 1, 3)
"""Between (batch, tokens, heads, width) and (batch, heads, tokens, width)."""


_LAST = 2**31
"""Stands for the end of a shape."""


class HeadWriter:
    """Writes heads anew in one model; columns of a weight that several places take are stored once."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._insert = Inserter(model)
        self._names = names_in(model)
        self._stored: dict[Any, ir.Value] = {}
        self._written = False

    def write_source(self, source: HeadSource, part: str) -> None:
        """Compute the heads of ``source``, the ``part`` (query, key or value) of an attention, in normal form."""
        old = source.value
        before = old.producer()
        assert before is not None, "heads are computed"
        product = source.biased if source.is_whole else self._columns(source, part, before)
        groups = len(source.columns)
        heads = self._node("Reshape", [product, self._shape(COPIED, COPIED, groups, INFERRED)], before)
        if source.group_of != tuple(range(groups)):
            heads = self._node("Gather", [heads, self._shape(*source.group_of)], before, axis=2)
        if source.axes != NATURAL:
            heads = self._node("Transpose", [heads], before, perm=list(source.axes))
        if source.merged:
            shape = self._node("Concat", [self._shape(INFERRED), self._sizes(heads, 2, 4, before)], before, axis=0)
            heads = self._node("Reshape", [heads, shape], before)
        heads = self._scaled(heads, source.scalings, before)
        self._tell_shapes(source.shapes, source.rows)
        self._take_over(old, heads)

    def write_join(self, join: HeadJoin) -> None:
        """Compute what the heads of an attention are side by side in normal form."""
        context, joined = join.context, join.joined
        before = joined.producer()
        assert before is not None, "heads are joined by a node"
        value = context
        if join.merged:
            sizes = [self._shape(INFERRED, join.heads), self._sizes(context, 1, 3, before)]
            value = self._node("Reshape", [value, self._node("Concat", [*sizes], before, axis=0)], before)
        value = self._node("Transpose", [value], before, perm=list(_BY_HEAD))
        if join.flat:
            value = self._node("Flatten", [value], before, axis=2)
        else:
            value = self._node("Reshape", [value, self._shape(COPIED, COPIED, INFERRED)], before)
        self._tell_shapes(join.shapes, join.rows)
        self._take_over(joined, value)

    def write_shapes(self, shapes: Mapping[ir.Value, tuple[Size, ...]], rotation: Rotation, end: ir.Value) -> None:
        """Compute ``shapes`` from what the heads are computed from, if the rotation reads them, or what is beyond ``end``."""
        for value, sizes in shapes.items():
            asking = [node for node, _ in value.uses() if op_of(node) == "Shape"]
            readers = [node for node in asking if value in rotation.interior or _escapes(node.outputs[0], end)]
            self._tell(readers, sizes, rotation.rows)

    def write_repeated(self, heads: ir.Value, axes: tuple[int, ...], repeated: Repeated) -> None:
        """Repeat ``heads`` with these ``axes`` by a Gather."""
        before = repeated.value.producer()
        assert before is not None, "heads are moved by a node"
        value = self._node("Gather", [heads, self._shape(*repeated.group_of)], before, axis=axes.index(2))
        if axes != repeated.axes:
            value = self._node("Transpose", [value], before, perm=[axes.index(axis) for axis in repeated.axes])
        self._take_over(repeated.value, self._scaled(value, repeated.scalings, before))

    def clean(self) -> None:
        """Remove what nothing needs any more, if anything was written."""
        if self._written:
            RemoveUnusedNodesPass()(self._model)

    def _columns(self, source: HeadSource, part: str, before: ir.Node) -> ir.Value:
        """Return the product of these columns alone, with their bias."""
        columns, weight = source.columns.ravel(), source.site.weight
        key = (weight.source, weight.transposed, columns.tobytes())
        if key not in self._stored:
            taken = ir.LazyTensor(
                lambda: ir.Tensor(np.ascontiguousarray(weight.numpy()[:, columns].astype(weight.dtype.numpy()))),
                dtype=weight.dtype,
                shape=ir.Shape([source.site.in_features, len(columns)]),
            )
            self._stored[key] = self._insert.initializer(f"{weight.name}/{part}", taken)
        product = self._node("MatMul", [source.rows, self._stored[key]], before)
        node = product.producer()
        assert node is not None
        node.name = free_name(f"{source.product.name or source.site.name}/{part}", self._names)
        self._names.add(node.name)
        bias = find_bias_at(source.product, source.site.out_features)
        if bias is None:
            return product
        entries = np.ascontiguousarray(bias.tensor.numpy()[columns])
        stored = self._insert.initializer(f"{node.name}/bias", ir.Tensor(entries, dtype=bias.tensor.dtype))
        return self._node("Add", [product, stored], before)

    def _tell_shapes(self, shapes: Mapping[ir.Value, tuple[Size, ...]], rows: ir.Value) -> None:
        """Let whoever reads the shape of one of these values compute it from that of ``rows``."""
        for value, sizes in shapes.items():
            self._tell([node for node, _ in value.uses() if op_of(node) == "Shape"], sizes, rows)

    def _tell(self, readers: Iterable[ir.Node], sizes: tuple[Size, ...], rows: ir.Value) -> None:
        for node in readers:
            shape = self._node("Concat", [self._size(size, rows, node) for size in sizes], node, axis=0)
            start, end = int_attribute(node, "start", 0), int_attribute(node, "end", _LAST)
            if (start, end) != (0, _LAST):
                shape = self._node("Slice", [shape, self._shape(start), self._shape(end)], node)
            node.outputs[0].replace_all_uses_with(shape)

    def _scaled(self, value: ir.Value, scalings: Iterable[ir.Node], before: ir.Node) -> ir.Value:
        for scaling in scalings:
            operands = [each for each in scaling.inputs if each is not None]
            moved = [each for each in operands if constant_tensor(each) is None]
            value = self._node(op_of(scaling), [value if each is moved[-1] else each for each in operands], before)
        return value

    def _size(self, size: Size, rows: ir.Value, before: ir.Node) -> ir.Value:
        """Return a ``size``, shape (1,)."""
        value = self._shape(size.number)
        for axis, counts in enumerate((size.batch, size.tokens)):
            if counts:
                one = self._sizes(rows, axis, axis + 1, before)
                value = one if value is self._shape(1) else self._node("Mul", [value, one], before)
        return value

    def _sizes(self, value: ir.Value, start: int, end: int, before: ir.Node) -> ir.Value:
        shape = self._node("Shape", [value], before)
        return self._node("Slice", [shape, self._shape(start), self._shape(end)], before)

    def _shape(self, *entries: int) -> ir.Value:
        if entries not in self._stored:
            self._stored[entries] = self._insert.initializer("heads/sizes", ir.tensor(np.array(entries, np.int64)))
        return self._stored[entries]

    def _node(self, op: str, inputs: list[ir.Value | None], before: ir.Node, **attributes: Any) -> ir.Value:
        self._written = True
        return self._insert.node(op, inputs, before=before, **attributes)

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        new.type, new.shape = old.type, old.shape
        if old.is_graph_output():
            old.name, new.name = new.name, old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)


def _escapes(value: ir.Value, end: ir.Value) -> bool:
    """Whether the model returns something that is computed from ``value``, and not from ``end``."""
    pending, seen = [value], {value}
    while pending:
        each = pending.pop()
        if is_shown(each):
            return True
        readers = [] if each is end else [output for node, _ in each.uses() for output in node.outputs]
        pending.extend(output for output in readers if output not in seen)
        seen.update(readers)
    return False
