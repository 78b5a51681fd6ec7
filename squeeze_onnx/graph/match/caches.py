"""Caches of a decoder: keys or values of earlier tokens that come in, and go out again with those of the new tokens behind them.

    past (batch, heads, earlier tokens, width) ──┐
                                                  Concat(axis of the tokens) ─► present, an output, and what attention reads
    heads of the new tokens ─────────────────────┘

Whoever computes a part of a graph may leave an empty cache out: what attention reads is the heads of the new tokens then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import int_attribute, op_of

HEADS, TOKENS, WIDTH = 1, 2, 3
"""Which axes of a cache are its heads, the tokens and the width of a head."""

_RANK = 4


@dataclass(frozen=True, eq=False)
class Cache:
    """One cache: the ``node`` that joins what ``past`` holds and the heads ``new`` to ``present``, which the graph returns."""

    node: ir.Node
    past: ir.Value
    new: ir.Value
    present: ir.Value

    @property
    def heads(self) -> int | None:
        """How many heads it holds; None if the graph does not say."""
        return _size(self.past, HEADS)

    @property
    def width(self) -> int | None:
        """The entries of a head and token; None if the graph does not say."""
        return _size(self.past, WIDTH)

    @property
    def bytes_each_token(self) -> int | None:
        """What a token takes in it; None if the graph does not say."""
        if self.heads is None or self.width is None or self.past.dtype is None:
            return None
        return int(self.heads * self.width * self.past.dtype.itemsize)

    @property
    def declared(self) -> tuple[ir.Value, ...]:
        """What comes in and goes out, whose shapes the graph declares."""
        same = (node.outputs[0] for node, _ in self.present.uses() if _is_same(node))
        return (self.past, *(value for value in (self.present, *same) if value.is_graph_output()))

    def resize(self, width: int) -> None:
        """Declare heads of another ``width`` wherever the graph declares them."""
        for value in self.declared:
            if value.shape is not None and len(value.shape) == _RANK:
                value.shape = ir.Shape([*value.shape.dims[:WIDTH], width])


def cache_at(node: ir.Node | None) -> Cache | None:
    """Return the cache that ``node`` puts new keys or values into; None if it does something else."""
    if node is None or op_of(node) != "Concat" or len(node.inputs) != 2:
        return None
    past, new = node.inputs
    if past is None or new is None or not past.is_graph_input() or past.const_value is not None or new.is_graph_input():
        return None
    if past.shape is None or len(past.shape) != _RANK or int_attribute(node, "axis") % _RANK != TOKENS:
        return None
    present = node.outputs[0]
    shown = present.is_graph_output() or any(
        _is_same(reader) and reader.outputs[0].is_graph_output() for reader, _ in present.uses()
    )
    return Cache(node, past, new, present) if shown else None


def caches_in(graph: ir.Graph) -> Iterator[Cache]:
    """Yield the caches of ``graph``, in graph order."""
    for node in graph:
        cache = cache_at(node)
        if cache is not None:
            yield cache


def past_of(value: ir.Value) -> Cache | None:
    """Return the cache whose earlier tokens come in as ``value``; None if it is none."""
    found = (cache_at(node) for node, index in value.uses() if index == 0) if value.is_graph_input() else ()
    return next((cache for cache in found if cache is not None and cache.past is value), None)


def is_shown(value: ir.Value) -> bool:
    """Whether ``value`` is an output of the graph that is no cache: a change of its width would show."""
    node = value.producer()
    if not value.is_graph_output() or cache_at(node) is not None:
        return False
    same = node.inputs[0] if node is not None and _is_same(node) else None
    return same is None or cache_at(same.producer()) is None


def holds_heads(value: ir.Value) -> bool:
    """Whether ``value`` is what a cache returns, as it is or with heads repeated: its last axis is their width."""
    node = value.producer()
    if node is not None and op_of(node) == "Gather" and int_attribute(node, "axis") == HEADS:
        return node.inputs[0] is not None and holds_heads(node.inputs[0])
    return cache_at(node) is not None


def tells_width(shape: ir.Node) -> bool:
    """Whether something else than a number of texts, heads or tokens is read off the ``shape`` of what `holds_heads`."""
    if op_of(shape) != "Shape":
        return True
    axes = range(_RANK)[int_attribute(shape, "start") : int_attribute(shape, "end", _RANK)]
    if WIDTH not in axes:
        return False
    for node, index in shape.outputs[0].uses():
        picked = constant_tensor(node.inputs[1]) if op_of(node) == "Gather" and index == 0 else None
        if picked is None or any(axes[int(entry)] == WIDTH for entry in picked.numpy().ravel()):
            return True
    return shape.outputs[0].is_graph_output()


def _size(value: ir.Value, axis: int) -> int | None:
    size = None if value.shape is None or len(value.shape) != _RANK else value.shape[axis]
    return size if isinstance(size, int) else None


def _is_same(node: ir.Node) -> bool:
    return op_of(node) == "Identity"
