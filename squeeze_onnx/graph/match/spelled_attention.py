"""Attention spelled out in plain operators: what of the graph it is, its heads and its scale.

Where it begins and ends is read off the graph; that what lies between is an attention, its number of heads and its scale are
found by computing it (see `graph.behaviour`). Whatever is added to the scores, padding mask or relative positions, counts as
a bias.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
from scipy.special import softmax

from squeeze_onnx.graph.match.attention import AttentionCore, attention_cores
from squeeze_onnx.graph.match.behaviour import UncomputableError, batch_and_tokens, compute
from squeeze_onnx.graph.match.dataflow import data_inputs, upstream
from squeeze_onnx.graph.match.operators import (
    ADDITIONS,
    HEAD_LAYOUTS,
    SCALINGS,
    SOFTMAXES,
    data_operands,
    mixes,
    op_of,
)
from squeeze_onnx.graph.match.projections import Projection, projection_of

_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})


@dataclass(frozen=True, eq=False)
class SpelledAttention:
    """softmax(scale · query · keyᵀ + Σ biases) · value for each of ``heads`` heads, with the heads side by side again."""

    query: Projection
    key: Projection
    value: Projection
    biases: tuple[ir.Value, ...]
    logits: ir.Value
    context: ir.Value
    heads: int
    scale: float

    @property
    def projections(self) -> tuple[Projection, Projection, Projection]:
        """What makes query, key and value."""
        return self.query, self.key, self.value


def spelled_attentions(graph: ir.Graph) -> Iterator[SpelledAttention]:
    """Yield every attention of ``graph`` that is spelled out, in graph order; the graph may change in between."""
    for core in attention_cores(graph, _is_mixer):
        spelled = op_of(core.node) == "MatMul" and len(core.operands) == 3
        found = _read(core, batch_and_tokens(graph)) if spelled else None
        if found is not None:
            yield found


def _read(core: AttentionCore, sizes: tuple[int, int]) -> SpelledAttention | None:
    """Return what ``core`` computes, or None if it is no attention that the operators of com.microsoft compute.

    ``sizes`` are the batch and the tokens to try it with.
    """
    projections = tuple(projection_of(_before_heads(operand)) for operand in core.operands)
    logits = _softmax_before(core).inputs[0]
    if None in projections or logits is None:
        return None
    query, key, value = cast(tuple[Projection, Projection, Projection], projections)
    biases = tuple(dict.fromkeys(_added(logits, set(core.operands[:2]))))
    if query.weight.dtype not in _TYPES:
        return None
    for context in _joined_heads(core.node):
        try:
            heads, scale = _compare(logits, context, (query, key, value), biases, sizes)
        except UncomputableError:
            continue
        return SpelledAttention(query, key, value, biases, logits, context, heads, scale)
    return None


def _compare(
    logits: ir.Value,
    context: ir.Value,
    projections: tuple[Projection, ...],
    biases: tuple[ir.Value, ...],
    sizes: tuple[int, int],
) -> tuple[int, float]:
    """Return the heads and the scale with which ``context`` is an attention; raise UncomputableError if it is none."""
    random = np.random.default_rng(0)
    dtype = projections[0].weight.dtype.numpy()
    q, k, v = (random.standard_normal((*sizes, each.features)).astype(dtype) for each in projections)
    bias = random.standard_normal((sizes[0], 1, sizes[1], sizes[1])).astype(dtype)
    given = dict(zip((each.value for each in projections), (q, k, v), strict=True)) | dict.fromkeys(biases, bias)
    scores, joined = compute([logits, context], given, shape_beyond=q.shape)
    heads = scores.shape[1] if scores.ndim == 4 else 0
    if joined.shape != v.shape or not heads or any(array.shape[-1] % heads for array in (q, k, v)):
        raise UncomputableError(f"{context.name} is no sequence of joined heads")
    split = [array.reshape(*sizes, heads, -1) for array in (q, k, v, joined)]
    return heads, fit_scale(scores, split[3], (split[0], split[1], split[2]), len(biases) * bias)


def fit_scale(
    scores: np.ndarray,
    context: np.ndarray,
    operands: tuple[np.ndarray, np.ndarray, np.ndarray],
    bias: np.ndarray,
) -> float:
    """Return the scale with which ``scores`` and ``context`` are those of an attention of query, key and value.

    scores, bias: (batch, heads, tokens, tokens). context, operands: (batch, tokens, heads, size of a head).

    Raises UncomputableError if there is none.
    """
    query, key, value = (operand.astype(np.float64).swapaxes(1, 2) for operand in operands)
    products = query @ key.swapaxes(-1, -2)
    added = bias.astype(np.float64)
    scale = float(np.sum((scores - added) * products) / np.sum(products**2))
    expected = (softmax(scale * products + added, axis=-1) @ value).swapaxes(1, 2)
    tolerance = 100 * float(np.finfo(operands[0].dtype).eps)
    if context.shape != expected.shape or not np.allclose(context, expected, rtol=0, atol=tolerance):
        raise UncomputableError("the values are not those of an attention")
    usual = query.shape[-1] ** -0.5
    return usual if np.isclose(scale, usual, rtol=tolerance) else scale


def _before_heads(value: ir.Value) -> ir.Value:
    """Return what was split into heads, and scaled perhaps, to give ``value``."""
    while (node := value.producer()) is not None and op_of(node) in HEAD_LAYOUTS | SCALINGS:
        branches = [operand for operand in data_inputs(node) if any(map(_is_mixer, upstream(operand, _is_mixer)))]
        if len(branches) != 1:
            break
        [value] = branches
    return value


def _softmax_before(core: AttentionCore) -> ir.Node:
    [probabilities] = [operand for operand in core.node.inputs if operand is not core.operands[2]]
    assert probabilities is not None
    return next(node for node in upstream(probabilities, _is_mixer) if op_of(node) in SOFTMAXES)


def _added(logits: ir.Value, factors: set[ir.Value]) -> Iterator[ir.Value]:
    """Yield what is added on the way from the product of ``factors`` to ``logits``."""

    def is_product(node: ir.Node) -> bool:
        return factors <= set(node.inputs)

    value = logits
    while (node := value.producer()) is not None and not is_product(node):
        branches = [operand for operand in data_inputs(node) if any(map(is_product, upstream(operand, _is_mixer)))]
        if len(branches) != 1:
            return
        if op_of(node) in ADDITIONS:
            yield from (operand for operand in data_inputs(node) if operand is not branches[0])
        [value] = branches


def _joined_heads(product: ir.Node) -> Iterator[ir.Value]:
    """Yield what the heads' contexts become when they are put side by side, step by step."""
    node: ir.Node | None = product
    while node is not None:
        yield node.outputs[0]
        readers = [reader for reader, index in node.outputs[0].uses() if index in data_operands(reader)]
        node = readers[0] if len(readers) == 1 and op_of(readers[0]) in HEAD_LAYOUTS else None


def _is_mixer(node: ir.Node) -> bool:
    return mixes(node)
