"""Fusion: attention, normalization and activation as the operators that ONNX Runtime has kernels for.

ONNX Runtime's own fusions look for the nodes that exporters write; factors in between hide an attention from them. Here a
part of the graph is recognized by what it computes, so a squeezed graph fuses as its dense original does. The fused graph
needs ONNX Runtime (domain com.microsoft); the graph before runs everywhere.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.fused.fused_attention import fuse_attention, fuse_attention_core
from squeeze_onnx.graph.fused.fused_layers import (
    fuse_embedding_normalization,
    fuse_gelu,
    fuse_skip_normalization,
    keep_sums_apart,
)
from squeeze_onnx.graph.match.operators import FUSED_OPERATORS, op_of
from squeeze_onnx.graph.rewrite.insertion import Inserter

Fusion = Callable[[Inserter], None]

FUSIONS: dict[str, tuple[Fusion, ...]] = {
    # On the CPU the kernel of SkipLayerNormalization takes longer than a sum and a LayerNormalization.
    "cpu": (fuse_attention, fuse_gelu, fuse_embedding_normalization, keep_sums_apart),
    "cuda": (fuse_attention, fuse_gelu, fuse_embedding_normalization, fuse_skip_normalization),
}
"""Execution provider → what is worth fusing there, in order."""

WEIGHTS_APART: dict[str, tuple[Fusion, ...]] = {
    "cpu": (fuse_attention_core, fuse_gelu, keep_sums_apart),
    "cuda": (fuse_attention_core, fuse_gelu, fuse_skip_normalization),
}
"""The same for a model that is quantized afterwards: no weight goes into an operator, where it would stay float."""


@dataclass(frozen=True)
class FusionCounts:
    """How often each kind of fused operator stands in the dense model, fused likewise, and in the squeezed one."""

    dense: Mapping[str, int]
    squeezed: Mapping[str, int]

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return {operator: {dense, squeezed}}."""
        return {kind: {"dense": count, "squeezed": self.squeezed[kind]} for kind, count in self.dense.items()}


def fuse(model: ir.Model, provider: str, *, weights_apart: bool = False) -> None:
    """Fuse what is worth it on ``provider`` in the main graph of ``model``, which changes in place."""
    inserter = Inserter(model)
    for fusion in (WEIGHTS_APART if weights_apart else FUSIONS)[provider]:
        fusion(inserter)
    RemoveUnusedNodesPass()(model)


def fuse_squeezed(squeezed: ir.Model, dense: ir.Model, provider: str, *, weights_apart: bool = False) -> FusionCounts:
    """Fuse ``squeezed``, and the ``dense`` model it came from to compare with; both change in place."""
    for graph in (dense, squeezed):
        fuse(graph, provider, weights_apart=weights_apart)
    return FusionCounts(count_fused(dense), count_fused(squeezed))


def count_fused(model: ir.Model) -> dict[str, int]:
    """Return how often each kind of fused operator stands in ``model``, packed attention counting as attention."""
    counts = Counter(FUSED_OPERATORS.get(op_of(node)) for node in model.graph)
    return {kind: counts[kind] for kind in dict.fromkeys(FUSED_OPERATORS.values())}
