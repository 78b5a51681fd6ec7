"""Attention, however it is spelled out, as one com.microsoft operator.

    q ─► heads ─┐
    k ─► heads ─┴► scores ─► · scale ─► + bias ─► Softmax ─┐          q, k, v, bias ─► MultiHeadAttention ─► context
    v ─► heads ────────────────────────────────────────────┴► context

Where the cut goes is read off the graph; that what lies between is an attention, its number of heads and its scale are
found by computing it (see `graph.behaviour`). Whatever is added to the scores, padding mask or relative positions, becomes
the attention bias. Where q, k and v are products of the same rows, as in a dense model or behind a shared left factor, the
three products move into com.microsoft.Attention, as one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx_ir as ir
from scipy.special import softmax

from squeeze_onnx.graph.attention import AttentionCore, attention_cores
from squeeze_onnx.graph.behaviour import UncomputableError, batch_and_tokens, compute
from squeeze_onnx.graph.constants import ConstantMatrix
from squeeze_onnx.graph.dataflow import data_inputs, upstream
from squeeze_onnx.graph.insertion import Inserter
from squeeze_onnx.graph.operators import (
    ADDITIONS,
    HEAD_LAYOUTS,
    MIXERS,
    MULTI_HEAD_ATTENTION,
    PACKED_ATTENTION,
    SCALINGS,
    SOFTMAXES,
    data_operands,
    op_of,
)
from squeeze_onnx.graph.projections import Projection, projection_of

_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})


@dataclass(frozen=True, eq=False)
class SpelledAttention:
    """softmax(scale · query · keyᵀ + Σ biases) · value for each of ``heads`` heads, with the heads side by side again."""

    query: Projection
    key: Projection
    value: Projection
    biases: tuple[ir.Value, ...]
    context: ir.Value
    heads: int
    scale: float

    @property
    def projections(self) -> tuple[Projection, Projection, Projection]:
        """What makes query, key and value."""
        return self.query, self.key, self.value


def fuse_attention(inserter: Inserter) -> None:
    """Replace every attention of the graph that is spelled out; the nodes it was spelled with stay, unused."""
    writer = _Writer(inserter)
    for core in attention_cores(inserter.graph, _is_mixer):
        spelled = op_of(core.node) == "MatMul" and len(core.operands) == 3
        found = _read(core, batch_and_tokens(inserter.graph)) if spelled else None
        if found is not None:
            writer.replace(found)


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
        return SpelledAttention(query, key, value, biases, context, heads, scale)
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
    added = len(biases) * bias.astype(np.float64)
    products = _heads(q, heads) @ _heads(k, heads).swapaxes(-1, -2)
    scale = float(np.sum((scores - added) * products) / np.sum(products**2))
    expected = softmax(scale * products + added, axis=-1) @ _heads(v, heads)
    expected = expected.swapaxes(1, 2).reshape(v.shape)
    tolerance = 100 * float(np.finfo(dtype).eps)
    if not np.allclose(joined, expected, rtol=0, atol=tolerance):
        raise UncomputableError(f"{context.name} is no attention")
    usual = (q.shape[-1] // heads) ** -0.5
    return heads, usual if np.isclose(scale, usual, rtol=tolerance) else scale


def _heads(rows: np.ndarray, heads: int) -> np.ndarray:
    """(batch, tokens, features) → (batch, heads, tokens, features of a head), in float64."""
    split = rows.astype(np.float64).reshape(*rows.shape[:2], heads, -1)
    return split.swapaxes(1, 2)


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


class _Writer:
    """Writes fused attentions; what several of them share is written once."""

    def __init__(self, inserter: Inserter) -> None:
        self._inserter = inserter
        self._attention_biases: dict[tuple[ir.Value, ...], ir.Value] = {}
        self._packed: dict[tuple[ir.Value, ...], ir.Value] = {}

    def replace(self, found: SpelledAttention) -> None:
        """Let a fused node compute ``found.context``."""
        before = found.context.producer()
        assert before is not None
        attention_bias = self._attention_bias(found, before)
        biases = np.concatenate([projection.bias for projection in found.projections])
        bias = self._inserter.initializer(f"{before.name}/qkv_bias", ir.Tensor(biases))
        attributes: dict[str, Any] = {"num_heads": found.heads, "scale": found.scale}
        if _share_rows(found.projections):
            attributes["qkv_hidden_sizes"] = [projection.features for projection in found.projections]
            operands = [found.query.rows, self._packed_weight(found, before), bias, None, None, attention_bias]
            fused = self._inserter.node(PACKED_ATTENTION, operands, before=before, **attributes)
        else:
            products = [projection.product for projection in found.projections]
            operands = [*products, bias, None, attention_bias]
            fused = self._inserter.node(MULTI_HEAD_ATTENTION, operands, before=before, **attributes)
        fused.type, fused.shape = found.context.type, found.context.shape
        found.context.replace_all_uses_with(fused, replace_graph_outputs=True)

    def _attention_bias(self, found: SpelledAttention, before: ir.Node) -> ir.Value | None:
        """Return the sum of the biases with a row for each query: the kernels broadcast batch and heads only."""
        if not found.biases:
            return None
        if found.biases not in self._attention_biases:
            insert = self._inserter
            total, *others = found.biases
            for other in others:
                total = insert.node("Add", [total, other], before=before)
            one, two = (insert.initializer(f"axis_{number}", ir.tensor([number])) for number in (1, 2))
            shape = insert.node("Shape", [found.query.rows], before=before)
            tokens = insert.node("Slice", [shape, one, two], before=before)
            rows = insert.node("Concat", [one, one, tokens, one], before=before, axis=0)
            self._attention_biases[found.biases] = insert.node("Expand", [total, rows], before=before)
        return self._attention_biases[found.biases]

    def _packed_weight(self, found: SpelledAttention, before: ir.Node) -> ir.Value:
        operands = tuple(_weight_operand(projection) for projection in found.projections)
        if operands not in self._packed:
            packed = _side_by_side([projection.weight for projection in found.projections])
            self._packed[operands] = self._inserter.initializer(f"{before.name}/qkv_weight", packed)
        return self._packed[operands]


def _side_by_side(weights: list[ConstantMatrix]) -> ir.LazyTensor:
    """Return the matrix of all columns; nothing is read before it is."""
    dtype = weights[0].dtype
    columns = sum(weight.shape[1] for weight in weights)
    return ir.LazyTensor(
        lambda: ir.Tensor(np.concatenate([weight.numpy() for weight in weights], axis=1).astype(dtype.numpy())),
        dtype=dtype,
        shape=ir.Shape([weights[0].shape[0], columns]),
    )


def _weight_operand(projection: Projection) -> ir.Value:
    node = projection.product.producer()
    assert node is not None
    assert node.inputs[1] is not None
    return node.inputs[1]


def _share_rows(projections: tuple[Projection, ...]) -> bool:
    """Whether all multiply the same rows, each for the attention alone."""
    uses = [len(value.uses()) for each in projections for value in (each.product, each.value)]
    return len({each.rows for each in projections}) == 1 and set(uses) == {1}


def _is_mixer(node: ir.Node) -> bool:
    return op_of(node) in MIXERS
