"""Heads that are rotated by their positions, found by computing it: a matrix for each position, the same for all heads, that
mixes every dimension with one other at most: halves, neighbours, a part of the dimensions, RotaryEmbedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from squeeze_onnx.graph.match.attention_parts import NATURAL, NotABlockError
from squeeze_onnx.graph.match.behaviour import UncomputableError, compute, small_shape
from squeeze_onnx.graph.match.caches import cache_at, past_of
from squeeze_onnx.graph.match.head_behaviour import tolerance
from squeeze_onnx.graph.match.head_sources import HeadSource, is_entry_move
from squeeze_onnx.graph.match.operators import SCALINGS, op_of

BY_HEAD = (0, 2, 1, 3)
"""The axes (batch, heads, tokens, width), as those of (batch, tokens, heads, width)."""


def tried_heads(heads: int) -> int:
    """Return with how many heads a rotation is tried, and its tables are read off two: all, as shapes may be fixed."""
    return max(heads, 2)


@dataclass(frozen=True, eq=False)
class Rotation:
    """Heads ``source`` that become ``rotated``, both with the axes ``axes``; ``rows`` are (batch, tokens, features).

    pairs: the dimensions that turn together, (pairs, 2). inside: the nodes between the two, in graph order. batched: they need
    heads of the whole batch, even where its texts do not differ.
    """

    source: ir.Value
    rotated: ir.Value
    axes: tuple[int, ...]
    rows: ir.Value
    pairs: np.ndarray
    inside: tuple[ir.Node, ...]
    dtype: ir.DataType
    batched: bool

    @property
    def interior(self) -> tuple[ir.Value, ...]:
        """What lies between the two."""
        outputs = [value for node in self.inside for value in node.outputs]
        return tuple(value for value in outputs if value is not self.rotated)

    @property
    def is_read_inside(self) -> bool:
        """Whether something else needs what lies between the two, and more of the heads than their shape for that."""
        needed = {value for value in self.interior if any(node not in self.inside for node, _ in value.uses())}
        for node in reversed(self.inside):
            if needed.intersection(node.outputs) and not (op_of(node) == "Shape" and self.source in node.inputs):
                needed.update(value for value in node.inputs if value is not None)
        return self.source in needed


def rotation_of(operand: ir.Value, source: HeadSource) -> Rotation:
    """Return how ``source`` is rotated on its way to ``operand``; raise NotABlockError if it is not, or in another way."""
    if source.axes not in (NATURAL, BY_HEAD) or source.merged or len(set(source.group_of)) < len(source.group_of):
        raise NotABlockError
    if source.value is operand:
        raise NotABlockError
    for rotated in reversed(list(ends_of(operand, source.value))):
        try:
            matrices = _matrices(source, rotated)
        except UncomputableError:
            continue
        return Rotation(
            source.value,
            rotated,
            source.axes,
            source.rows,
            _pairs(matrices),
            between(source.value, rotated),
            source.site.weight.dtype,
            not _runs_on_one(source, rotated),
        )
    raise NotABlockError


def _runs_on_one(source: HeadSource, rotated: ir.Value) -> bool:
    """Whether heads of one text can be rotated by what a batch of two is."""
    tokens, width, heads = source.sizes[1], source.columns.shape[1], tried_heads(len(source.group_of))
    entries = np.zeros((1, tokens, heads, width), source.site.weight.dtype.numpy()).transpose(source.axes)
    given = {**texts_for(source.value, tokens, 2), source.value: np.ascontiguousarray(entries)}
    try:
        compute([rotated], given, shape_beyond=(2, tokens, heads * width))
    except UncomputableError:
        return False
    return True


def ends_of(operand: ir.Value, source: ir.Value) -> Iterator[ir.Value]:
    """Yield ``operand``, then what it is moved or scaled from, towards ``source``."""
    derived = {source, *(output for node in between(source, operand) for output in node.outputs)}
    value: ir.Value | None = operand
    while value is not None and value is not source:
        yield value
        node = value.producer()
        operands = [] if node is None else [each for each in node.inputs if each in derived]
        cache = cache_at(node)
        if cache is not None:
            value = cache.new
            continue
        if node is None or not (is_entry_move(node) or (op_of(node) in SCALINGS and len(operands) == 1)):
            return
        value = operands[0] if op_of(node) in SCALINGS else node.inputs[0]


def _matrices(source: HeadSource, rotated: ir.Value) -> np.ndarray:
    """Return what each token's heads are multiplied with, (tokens, width, width), the same for all heads.

    Raises UncomputableError if that is not all.
    """
    tokens, width, heads = source.sizes[1], source.columns.shape[1], tried_heads(len(source.group_of))
    given = texts_for(source.value, tokens)
    units = np.eye(width, dtype=source.site.weight.dtype.numpy())

    def turned(entries: np.ndarray) -> np.ndarray:
        heads_given = np.ascontiguousarray(entries.transpose(source.axes))
        [found] = compute([rotated], {**given, source.value: heads_given}, shape_beyond=(1, tokens, heads * width))
        natural = found.transpose(np.argsort(source.axes)) if found.ndim == entries.ndim else found
        if natural.shape != entries.shape:
            raise UncomputableError("heads of another width")
        return natural

    matrices = np.empty((tokens, width, width))
    for first in range(0, width, heads):  # a dimension in each head
        some = units[first : first + heads]
        entries = np.zeros((1, tokens, heads, width), units.dtype)
        entries[:, :, : len(some)] = some
        matrices[:, first : first + len(some)] = turned(entries)[0, :, : len(some)]
    entries = np.random.default_rng(0).standard_normal((1, tokens, heads, width)).astype(units.dtype)
    expected = np.einsum("bthd,tdr->bthr", entries.astype(np.float64), matrices)
    if not np.allclose(turned(entries), expected, rtol=0, atol=tolerance(units.dtype, 1)):
        raise UncomputableError("heads are not multiplied with one matrix")
    return matrices


def texts_for(value: ir.Value, tokens: int, batch: int = 1) -> dict[ir.Value, np.ndarray]:
    """Return texts of so many ``tokens``, with their positions where the model asks for them; caches are left out, as empty."""
    node = value.producer()
    assert node is not None and isinstance(node.graph, ir.Graph), "sites lie in the main graph"
    given: dict[ir.Value, np.ndarray] = {}
    for each in node.graph.inputs:
        if each.dtype is None or past_of(each) is not None:
            continue
        shape = small_shape(each)
        if len(shape) == 2:
            entries = np.broadcast_to(np.arange(1, tokens + 1), (batch, tokens))
            given[each] = np.ascontiguousarray(entries).astype(each.dtype.numpy())
        else:
            given[each] = np.zeros(shape, each.dtype.numpy())
    return given


def _pairs(matrices: np.ndarray) -> np.ndarray:
    """Return the dimensions that are mixed with each other; those that are mixed with none are neighbours in pairs."""
    mixed = np.abs(matrices).max(axis=0) > 1e-6 * np.abs(matrices).max()
    count, part = connected_components(csr_array(mixed), directed=False)
    members = [np.flatnonzero(part == each) for each in range(count)]
    alone = np.sort([each[0] for each in members if len(each) == 1])
    if max(map(len, members)) > 2 or len(alone) % 2:
        raise NotABlockError
    pairs = [tuple(each) for each in members if len(each) == 2]
    if not pairs:
        raise NotABlockError  # not rotated
    pairs += [pair for index, pair in enumerate(pairwise(alone.tolist())) if index % 2 == 0]
    return np.array(sorted(pairs))


def between(source: ir.Value, rotated: ir.Value) -> tuple[ir.Node, ...]:
    """Return the nodes that ``rotated`` is computed by from ``source``, in graph order."""
    last = rotated.producer()
    assert last is not None and isinstance(last.graph, ir.Graph), "rotated by a node"
    reached, inside = {source}, []
    for node in last.graph:
        if any(each in reached for each in node.inputs):
            reached.update(node.outputs)
            inside.append(node)
        if node is last:
            break
    needed, kept = {rotated}, []
    for node in reversed(inside):
        if needed.intersection(node.outputs):
            needed.update(each for each in node.inputs if each is not None)
            kept.append(node)
    return tuple(reversed(kept))
