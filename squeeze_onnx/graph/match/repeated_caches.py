"""Keys and values out of a cache whose heads are repeated, since several heads of the query share one."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.behaviour import UncomputableError
from squeeze_onnx.graph.match.caches import Cache, cache_at
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.head_sources import SourceTrace, decoded, is_entry_move
from squeeze_onnx.graph.match.operators import SCALINGS, op_of
from squeeze_onnx.graph.match.rotation_layouts import Repeated
from squeeze_onnx.graph.match.rotations import BY_HEAD

_SIZES = (2, 3)
"""Texts and tokens to compute with; a graph with a cache leaves both open."""


def repeated_cache(operand: ir.Value) -> tuple[Cache, Repeated] | None:
    """Return the cache that ``operand`` of an attention comes from, and where its heads are repeated; None if they are not."""
    path = [*reversed(list(_back_to_cache(operand)))]
    cache = cache_at(path[0].producer()) if path else None
    if cache is None or cache.heads is None or cache.width is None:
        return None
    (batch, tokens), features = _SIZES, cache.heads * cache.width
    entries = np.arange(batch * tokens * features).reshape(batch, tokens, cache.heads, cache.width).transpose(BY_HEAD)
    trace = SourceTrace({cache.present: entries}, (batch, tokens, features))
    scalings: list[ir.Node] = []
    for value in path[1:]:
        node = value.producer()
        assert node is not None, "found by going back"
        scalings += [] if is_entry_move(node) else [node]
        try:
            trace.follow(node)
        except UncomputableError:
            return None
        try:
            columns, axes, merged = decoded(trace.numbers[value], (batch, tokens, features))
        except UncomputableError:  # an axis more, on the way
            continue
        if not merged and len(columns) != cache.heads:
            group_of = tuple((columns[:, 0] // cache.width).tolist())
            return cache, Repeated(value, group_of, axes, tuple(scalings))
    return None


def _back_to_cache(value: ir.Value) -> Iterator[ir.Value]:
    """Yield ``value`` and what its entries are moved or scaled from, down to what a cache returns, or nothing more."""
    while True:
        yield value
        node = value.producer()
        if node is None or cache_at(node) is not None:
            return
        varying = [each for each in node.inputs if each is not None and constant_tensor(each) is None]
        before = node.inputs[0] if is_entry_move(node) else varying[0] if op_of(node) in SCALINGS else None
        if before is None or (op_of(node) in SCALINGS and len(varying) != 1):
            return
        value = before
