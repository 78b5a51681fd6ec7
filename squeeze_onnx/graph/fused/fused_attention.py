"""Attention, however it is spelled out, as one com.microsoft operator.

    q ─► heads ─┐
    k ─► heads ─┴► scores ─► · scale ─► + bias ─► Softmax ─┐          q, k, v, bias ─► MultiHeadAttention ─► context
    v ─► heads ────────────────────────────────────────────┴► context

What is added to the scores becomes the attention bias. Where q, k and v are products of the same rows, as in a dense model or
behind a shared left factor, the three products move into com.microsoft.Attention, as one.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import ConstantMatrix
from squeeze_onnx.graph.match.operators import MULTI_HEAD_ATTENTION, PACKED_ATTENTION, SOFTMAXES, op_of
from squeeze_onnx.graph.match.projections import Projection
from squeeze_onnx.graph.match.spelled_attention import SpelledAttention, spelled_attentions
from squeeze_onnx.graph.rewrite.insertion import Inserter


def fuse_attention(inserter: Inserter) -> None:
    """Replace every attention of the graph that is spelled out; the nodes it was spelled with stay, unused."""
    _fuse(inserter, pack=True)


def fuse_attention_core(inserter: Inserter) -> None:
    """Replace as `fuse_attention` does, but leave all products outside of it, where a quantizer finds their weights."""
    _fuse(inserter, pack=False)


def _fuse(inserter: Inserter, *, pack: bool) -> None:
    writer = _Writer(inserter, pack=pack)
    for found in spelled_attentions(inserter.graph):
        if not _shows_probabilities(found):
            writer.replace(found)


class _Writer:
    """Writes fused attentions; what several of them share is written once."""

    def __init__(self, inserter: Inserter, *, pack: bool) -> None:
        self._inserter = inserter
        self._pack = pack
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
        if self._pack and _share_rows(found.projections):
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


def _shows_probabilities(found: SpelledAttention) -> bool:
    """Whether something else reads the probabilities, which a fused node does not return: they would be computed twice."""
    softmaxes = [node for node, _ in found.logits.uses() if op_of(node) in SOFTMAXES]
    return any(len(softmax.outputs[0].uses()) > 1 for softmax in softmaxes)


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
