"""What lies around the rotation of heads: shapes that are read on the way, and heads that are repeated after it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.attention_parts import NATURAL
from squeeze_onnx.graph.match.behaviour import UncomputableError, compute
from squeeze_onnx.graph.match.caches import cache_at
from squeeze_onnx.graph.match.head_sources import HeadSource, Size, SourceTrace, decoded, is_entry_move
from squeeze_onnx.graph.match.operators import op_of
from squeeze_onnx.graph.match.rotations import BY_HEAD, Rotation, between, ends_of, texts_for

_OPEN = (2, 3)
"""Batch and tokens of a graph that leaves them open; see `behaviour`."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """What heads become in the end, a ``value``: ``group_of`` repeated, in the order ``axes``, with these ``scalings``."""

    value: ir.Value
    group_of: tuple[int, ...]
    axes: tuple[int, ...]
    scalings: tuple[ir.Node, ...]


def repeated_heads(rotation: Rotation, operand: ir.Value, source: HeadSource) -> Repeated | None:
    """Return how rotated heads become more of them in ``operand``; None if they do not, or behind a cache."""
    batch, tokens = source.sizes
    groups, width = source.columns.shape
    entries = np.arange(batch * tokens * groups * width).reshape(batch, tokens, groups, width).transpose(rotation.axes)
    trace = SourceTrace({rotation.rotated: entries}, (batch, tokens, groups * width))
    ends = list(ends_of(operand, source.value))
    path = [value.producer() for value in reversed(ends[: ends.index(rotation.rotated)])]
    if any(cache_at(node) is not None for node in path):
        return None
    for node in path:
        trace.follow(node)
    columns, axes, merged = decoded(trace.numbers[operand], (batch, tokens, groups * width))
    if merged or len(columns) == groups:
        return None
    scalings = tuple(node for node in path if node is not None and not is_entry_move(node))
    return Repeated(operand, tuple((columns[:, 0] // width).tolist()), axes, scalings)


def shapes_read(source: HeadSource, end: ir.Value) -> dict[ir.Value, tuple[Size, ...]]:
    """Return the shapes, by the sizes of the rows of ``source``, of what lies between it and ``end`` and is asked for its shape.

    Empty where nothing of that can be computed, and for graphs of a fixed size, in which sizes do not say what they are.
    """
    asked = [
        value for value in _new_tokens(source.value, end) if any(op_of(node) == "Shape" for node, _ in value.uses())
    ]
    if not asked or source.sizes != _OPEN or source.axes not in (NATURAL, BY_HEAD):
        return {}
    width, heads, tried = source.columns.shape[1], len(source.group_of), ((2, 3), (5, 7))
    shapes = []
    for batch, tokens in tried:
        entries = np.zeros((batch, tokens, heads, width), source.site.weight.dtype.numpy()).transpose(source.axes)
        given = {**texts_for(source.value, tokens, batch), source.value: np.ascontiguousarray(entries)}
        try:
            found = compute(asked, given, shape_beyond=(batch, tokens, heads * width))
        except UncomputableError:
            return {}
        shapes.append([each.shape for each in found])
    told = {}
    for value, first, second in zip(asked, *shapes, strict=True):
        sizes = [_size(one, other, tried) for one, other in zip(first, second, strict=True)]
        if None not in sizes:
            told[value] = tuple(size for size in sizes if size is not None)
    return told


def _new_tokens(source: ir.Value, end: ir.Value) -> Iterator[ir.Value]:
    """Yield ``source`` and what lies between it and ``end``, but for what counts the tokens of a cache too."""
    yield source
    cached: set[ir.Value | None] = set()
    for node in between(source, end):
        if cache_at(node) is not None or cached.intersection(node.inputs):
            cached.update(node.outputs)
        else:
            yield from node.outputs


def _size(first: int, second: int, tried: tuple[tuple[int, int], tuple[int, int]]) -> Size | None:
    """Return what gives ``first`` and ``second`` for the batch and tokens ``tried``."""
    for in_batch, in_text in ((False, False), (True, False), (False, True), (True, True)):
        (one, rest), (other, left) = (
            divmod(size, (batch if in_batch else 1) * (tokens if in_text else 1))
            for size, (batch, tokens) in zip((first, second), tried, strict=True)
        )
        if one == other and not rest and not left:
            return Size(one, in_batch, in_text)
    return None
