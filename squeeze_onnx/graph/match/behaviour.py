"""What a part of a graph computes, found by computing it on small arrays with ONNX's reference implementation.

Exporters spell the same mathematics in many ways. Whoever wants to know whether some nodes are an attention or a Gelu does
not have to know the spellings: cut the part out, run it, compare.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from squeeze_onnx.graph.match.caches import cache_at, past_of
from squeeze_onnx.graph.match.operators import op_of

_FAILURES = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError)
"""What the reference implementation raises on operands that do not fit and on operators that it lacks."""


_OPEN_SIZES = (2, 3)
"""Batch and tokens to compute with where a graph leaves them open: small, and not the same."""


class UncomputableError(Exception):
    """The part of the graph needs more than what was given, or does not run on it."""


def compute(
    outputs: Sequence[ir.Value], given: Mapping[ir.Value, np.ndarray], *, shape_beyond: tuple[int, ...] = ()
) -> list[np.ndarray]:
    """Compute ``outputs`` from the ``given`` values and from constants; a cache that is not given is empty.

    ``shape_beyond`` is the shape to tell of values that lie beyond the given ones and whose shape alone is read.

    Raises UncomputableError.
    """
    entries = _collect(outputs, set(given), through_shapes=False)
    shaped = {value for node in entries.nodes if op_of(node) == "Shape" for value in node.inputs if value is not None}
    beyond = {
        value: np.zeros(_shape_told(value, shape_beyond), np.float32)
        for value in shaped - given.keys()
        if value.producer() not in entries.nodes
    }
    part = _collect(outputs, {*given, *beyond}, through_shapes=True)
    arrays = {str(value.name): array for value, array in {**given, **beyond}.items()}
    first = outputs[0].producer()
    if first is None or not isinstance(first.graph, ir.Graph):
        raise UncomputableError(f"{outputs[0].name} is computed by no node of a graph")
    proto = onnx.helper.make_graph(
        [_serialized(node, given) for node in _in_order(outputs, part.nodes)],
        "part",
        [onnx.helper.make_empty_tensor_value_info(name) for name in arrays],
        [onnx.helper.make_empty_tensor_value_info(str(value.name)) for value in outputs],
        [_initializer(value) for value in part.constants],
    )
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in first.graph.opset_imports.items()]
    try:
        evaluator = ReferenceEvaluator(onnx.helper.make_model(proto, opset_imports=imports))
        results: list[np.ndarray] = evaluator.run(None, arrays)
    except _FAILURES as error:
        raise UncomputableError(str(error)) from error
    return results


def small_shape(value: ir.Value) -> tuple[int, ...]:
    """Return the shape of a graph input, with small sizes where it leaves them open."""
    sizes = _OPEN_SIZES if value.shape is None else value.shape.dims
    return tuple(size if isinstance(size, int) else _OPEN_SIZES[min(axis, 1)] for axis, size in enumerate(sizes))


def batch_and_tokens(graph: ir.Graph) -> tuple[int, int]:
    """Return the two sizes that ``graph`` runs with, small ones where it leaves them open."""
    for value in graph.inputs:
        shape = small_shape(value)
        if len(shape) > 1 and past_of(value) is None:
            return shape[0], shape[1]
    return _OPEN_SIZES


class _Piece:
    """Nodes and the stored constants that they read."""

    def __init__(self) -> None:
        self.nodes: set[ir.Node] = set()
        self.constants: set[ir.Value] = set()


def _collect(outputs: Sequence[ir.Value], given: set[ir.Value], *, through_shapes: bool) -> _Piece:
    """Return what ``outputs`` are computed by, back to ``given``; Shape nodes end the walk unless ``through_shapes``."""
    part = _Piece()
    pending = list(outputs)
    while pending:
        value = pending.pop()
        node = value.producer()
        if value in given or node in part.nodes:
            continue
        if node is not None:
            part.nodes.add(node)
            if through_shapes or op_of(node) != "Shape":
                cache = cache_at(node)
                read = node.inputs if cache is None or cache.past in given else (cache.new,)
                pending.extend(operand for operand in read if operand is not None)
        elif value.const_value is None or value.is_graph_input():
            raise UncomputableError(f"{value.name} is not given")
        else:
            part.constants.add(value)
    return part


def _serialized(node: ir.Node, given: Mapping[ir.Value, np.ndarray]) -> onnx.NodeProto:
    cache = cache_at(node)
    if cache is None or cache.past in given:
        return ir.serde.serialize_node(node)
    return onnx.helper.make_node("Identity", [str(cache.new.name)], [str(cache.present.name)])


def _shape_told(value: ir.Value, beyond: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``beyond``, or that of an empty cache, whose tokens are the third of four axes."""
    if past_of(value) is None:
        return beyond
    batch, heads, _, width = small_shape(value)
    return (beyond[0] if beyond else batch, heads, 0, width)


def _in_order(outputs: Sequence[ir.Value], nodes: set[ir.Node]) -> Iterator[ir.Node]:
    """Yield the ``nodes`` that compute ``outputs``, each after those it reads from; a graph may have a thousand others."""
    done: set[ir.Node] = set()
    pending = [node for value in outputs if (node := value.producer()) in nodes and node is not None]
    while pending:
        node = pending[-1]
        read = [value.producer() for value in node.inputs if value is not None]
        before = [each for each in read if each is not None and each in nodes and each not in done]
        pending.extend(before)
        if not before:
            pending.pop()
            if node not in done:
                done.add(node)
                yield node


def _initializer(value: ir.Value) -> onnx.TensorProto:
    assert value.const_value is not None
    proto = ir.serde.serialize_tensor(value.const_value)
    proto.name = str(value.name)
    return proto
