"""Walks along the data of a graph: what a value is computed by, where it flows to, where two branches join.

A walk follows data only: not the shape that Reshape takes, not the indices of Gather, nothing through Shape. It is lazy
and yields the nearest nodes first, so whoever looks for the next node of a kind stops there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import ADDITIONS, data_operands, op_of

Stop = Callable[[ir.Node], bool]


def data_inputs(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the operands whose entries end up in the output of ``node``."""
    for index in data_operands(node):
        value = node.inputs[index]
        if value is not None:
            yield value


def upstream(value: ir.Value, stop: Stop) -> Iterator[ir.Node]:
    """Yield the nodes that ``value`` is computed by, up to and with those that ``stop`` holds for."""
    return _walk(_producers([value]), lambda node: _producers(data_inputs(node)), stop)


def downstream(value: ir.Value, stop: Stop) -> Iterator[ir.Node]:
    """Yield the nodes that ``value`` flows into, up to and with those that ``stop`` holds for."""
    return _walk(_readers([value]), lambda node: _readers(node.outputs), stop)


def joins(graph: ir.Graph, is_source: Stop) -> frozenset[ir.Node]:
    """Return the additions where branches of different origin meet: a residual stream and what is added to it.

    The origins of a value are the nearest sources and joins upstream of it. An addition joins if its operands share no
    origin. So the bias (a constant) does not join, nor does x + 0.04·x³ inside a Gelu, nor q·cos + rotate(q)·sin.
    """
    found: set[ir.Node] = set()
    origins: dict[ir.Value, frozenset[ir.Node]] = {}
    nothing: frozenset[ir.Node] = frozenset()
    for node in graph:
        branches = [branch for value in data_inputs(node) if (branch := origins.get(value, nothing))]
        union = nothing.union(*branches)
        disjoint = len(branches) > 1 and sum(map(len, branches)) == len(union)
        if disjoint and op_of(node) in ADDITIONS:
            found.add(node)
        if node in found or is_source(node):
            union = frozenset({node})
        origins.update(dict.fromkeys(node.outputs, union))
    return frozenset(found)


def _walk(
    nearest: Iterable[ir.Node], following: Callable[[ir.Node], Iterable[ir.Node]], stop: Stop
) -> Iterator[ir.Node]:
    pending = deque(dict.fromkeys(nearest))
    seen = set(pending)
    while pending:
        node = pending.popleft()
        yield node
        for neighbour in () if stop(node) else following(node):
            if neighbour not in seen:
                seen.add(neighbour)
                pending.append(neighbour)


def _producers(values: Iterable[ir.Value]) -> Iterator[ir.Node]:
    for value in values:
        node = value.producer()
        if node is not None:
            yield node


def _readers(values: Iterable[ir.Value]) -> Iterator[ir.Node]:
    for value in values:
        for node, index in value.uses():
            if index in data_operands(node):
                yield node
