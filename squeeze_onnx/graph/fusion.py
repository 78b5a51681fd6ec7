"""Fusion: attention, normalization and activation as the operators that ONNX Runtime has kernels for.

ONNX Runtime's own fusions look for the nodes that exporters write; factors in between hide an attention from them. Here a
part of the graph is recognized by what it computes, so a squeezed graph fuses as its dense original does. The fused graph
needs ONNX Runtime (domain com.microsoft); the graph before runs everywhere.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.fused_attention import fuse_attention
from squeeze_onnx.graph.fused_layers import fuse_embedding_normalization, fuse_gelu, fuse_skip_normalization
from squeeze_onnx.graph.insertion import Inserter
from squeeze_onnx.graph.model import OnnxModel, load_model
from squeeze_onnx.graph.operators import FUSED_OPERATORS, op_of


def fuse(model: ir.Model) -> None:
    """Fuse what can be fused in the main graph of ``model``, which changes in place; the rest stays as it is."""
    inserter = Inserter(model)
    fuse_attention(inserter)
    fuse_gelu(inserter)
    fuse_embedding_normalization(inserter)
    fuse_skip_normalization(inserter)
    RemoveUnusedNodesPass()(model)


def count_fused(model: ir.Model) -> dict[str, int]:
    """Return how often each kind of fused operator stands in ``model``, packed attention counting as attention."""
    counts = Counter(FUSED_OPERATORS.get(op_of(node)) for node in model.graph)
    return {kind: counts[kind] for kind in dict.fromkeys(FUSED_OPERATORS.values())}


@dataclass(frozen=True)
class FusionCounts:
    """How often each kind of fused operator stands in the dense model, fused, and in the squeezed one."""

    dense: Mapping[str, int]
    squeezed: Mapping[str, int]

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return {operator: {dense, squeezed}}."""
        return {kind: {"dense": count, "squeezed": self.squeezed[kind]} for kind, count in self.dense.items()}


def fuse_squeezed(model: OnnxModel) -> FusionCounts:
    """Fuse ``model``, which was squeezed and changes in place; its file still holds the dense one to compare with."""
    dense = load_model(model.path).ir
    fuse(dense)
    fuse(model.ir)
    return FusionCounts(count_fused(dense), count_fused(model.ir))
