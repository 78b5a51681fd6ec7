"""Heads that are rotated by their positions, in fewer pairs of dimensions: only products with tables that are cut alike.

    before                                          after

    q ─► q · cos + rotate(q) · sin ─► scores        q ─► q · first[kept] + swapped(q) · second[kept] ─► scores

Whatever computed the rotation computes its tables: it is fed unit vectors, the first dimension of every pair in one head, the
second in another. Layers that rotate alike share that. Every head keeps pairs of its own.
"""

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.match.attention_parts import NATURAL
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import op_of
from squeeze_onnx.graph.match.rotated_heads import RotatedQueryKey
from squeeze_onnx.graph.match.rotations import BY_HEAD, Rotation, tried_heads
from squeeze_onnx.graph.rewrite.insertion import Inserter

_SMALL = 4096
"""Bytes of a constant that is told from others by its entries."""


class RotationWriter:
    """Writes thin rotations into one model; what computes the same tables stands there once."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._tables: dict[Any, ir.Value] = {}
        self._alike: dict[Any, int] = {}

    def write(self, block: RotatedQueryKey, kept: np.ndarray) -> None:
        """Let query and key of ``block``, thinned already, turn in the pairs ``kept``, (groups, pairs), of their old heads."""
        insert = Inserter(self._model)
        for rotations in block.rotations:
            for rotation, projected in zip(rotations, block.before, strict=True):
                self._write(insert, rotation, np.repeat(kept, projected.heads // block.groups, axis=0))
        RemoveUnusedNodesPass()(self._model)

    def _write(self, insert: Inserter, rotation: Rotation, kept: np.ndarray) -> None:
        before = rotation.rotated.producer()
        assert before is not None, "rotated by a node"
        tables = self._tables_of(insert, rotation, len(kept), before)
        first, second = (rotation.pairs[kept][..., side] for side in (0, 1))
        width, count = rotation.pairs.size, kept.shape[1]

        def node(op: str, inputs: list[ir.Value | None], **attributes: Any) -> ir.Value:
            return insert.node(op, inputs, before=before, **attributes)

        def table(entries: np.ndarray) -> ir.Value:
            rows = node("Gather", [tables, _integers(insert, entries)], axis=1)
            return node("Transpose", [rows], perm=[0, 1, 3, 2])

        def part(start: int, end: int) -> ir.Value:
            bounds = [_integers(insert, [each]) for each in (start, end, 3)]
            return node("Slice", [value, *bounds])

        value = rotation.source
        if rotation.axes == NATURAL:
            value = node("Transpose", [value], perm=list(BY_HEAD))
        same = node("Mul", [value, table(np.concatenate([first, width + second], axis=1))])
        swapped = node("Concat", [part(count, 2 * count), part(0, count)], axis=3)
        other = node("Mul", [swapped, table(np.concatenate([width + first, second], axis=1))])
        turned = node("Add", [same, other])
        if rotation.axes == NATURAL:
            turned = node("Transpose", [turned], perm=list(BY_HEAD))
        turned.type = rotation.rotated.type
        rotation.rotated.replace_all_uses_with(turned)

    def _tables_of(self, insert: Inserter, rotation: Rotation, heads: int, before: ir.Node) -> ir.Value:
        """Return what becomes of the first and of the second dimensions of all pairs, (batch or 1, 2 · width, tokens)."""
        key = (self._signature(rotation.rotated, rotation, {}), rotation.pairs.tobytes(), tried_heads(heads))
        if key not in self._tables:
            self._tables[key] = _tables(insert, rotation, tried_heads(heads), before)
        return self._tables[key]

    def _signature(self, value: ir.Value, rotation: Rotation, known: dict[ir.Value, int]) -> int:
        """Return a number that values have in common which are computed alike of the same, apart from the heads."""
        if value in known:
            return known[value]
        tensor, node = constant_tensor(value), value.producer()
        made: Any = value
        if value is rotation.source:  # how many tokens there are is read off the heads, if their shape is
            made = rotation.rows if any(op_of(node) == "Shape" for node in rotation.inside) else "heads"
        elif tensor is not None and tensor.nbytes <= _SMALL:
            made = (str(tensor.dtype), tuple(tensor.shape.numpy()), tensor.numpy().tobytes())
        elif tensor is None and node is not None:
            inputs = tuple(None if each is None else self._signature(each, rotation, known) for each in node.inputs)
            attributes = tuple(sorted((name, str(each.value)) for name, each in node.attributes.items()))
            made = (op_of(node), attributes, node.outputs.index(value), inputs)
        return known.setdefault(value, self._alike.setdefault(made, len(self._alike)))


def _tables(insert: Inserter, rotation: Rotation, heads: int, before: ir.Node) -> ir.Value:
    width, axes = rotation.pairs.size, rotation.axes
    units = np.zeros((1, 1, heads, width), rotation.dtype.numpy())
    for side in (0, 1):
        units[0, 0, side, rotation.pairs[:, side]] = 1
    stored = insert.initializer(
        "rotation/units", ir.Tensor(np.ascontiguousarray(units.transpose(axes)), dtype=rotation.dtype)
    )
    shape = insert.node("Shape", [rotation.rows], before=before)
    batch, tokens = (
        insert.node("Slice", [shape, _integers(insert, [axis]), _integers(insert, [axis + 1])], before=before)
        for axis in (0, 1)
    )
    first = batch if rotation.batched else _integers(insert, [1])
    sizes: list[ir.Value | None] = [first, tokens, _integers(insert, [heads]), _integers(insert, [width])]
    whole = insert.node("Concat", [sizes[axis] for axis in axes], before=before, axis=0)
    known = {rotation.source: insert.node("Expand", [stored, whole], before=before)}
    for node in rotation.inside:
        inputs = [None if each is None else known.get(each, each) for each in node.inputs]
        copy = insert.node(op_of(node), inputs, before=before, outputs=len(node.outputs), **node.attributes).producer()
        assert copy is not None
        known |= dict(zip(node.outputs, copy.outputs, strict=True))
    turned = known[rotation.rotated]
    if axes != BY_HEAD:
        turned = insert.node("Transpose", [turned], before=before, perm=[axes.index(axis) for axis in BY_HEAD])
    if heads > 2:
        bounds = [_integers(insert, [each]) for each in (0, 2, 1)]
        turned = insert.node("Slice", [turned, *bounds], before=before)
    columns = insert.node("Transpose", [turned], before=before, perm=[0, 1, 3, 2])
    return insert.node("Reshape", [columns, _integers(insert, [0, 2 * width, -1])], before=before)


def _integers(insert: Inserter, entries: Any) -> ir.Value:
    return insert.initializer("rotation/sizes", ir.tensor(np.asarray(entries, np.int64)))
