"""Selectors: how many components of one spectrum are signal.

A selector looks at one spectrum and proposes a rank; an allocator sees all sites and decides. A new selector is one
file here, one line in `rules.SELECTORS` and one test file.
"""

from squeeze_onnx.compress.selectors.base import RankChoice, RankSelector
from squeeze_onnx.compress.selectors.effective_rank import EffectiveRank
from squeeze_onnx.compress.selectors.energy import Energy
from squeeze_onnx.compress.selectors.fixed_rank import FixedRank
from squeeze_onnx.compress.selectors.optimal_hard_threshold import OptimalHardThreshold
from squeeze_onnx.compress.selectors.optimal_shrinkage import OptimalShrinkage
from squeeze_onnx.compress.selectors.rules import SELECTORS, NoiseModel, selector_of
from squeeze_onnx.compress.selectors.stable_rank import StableRank
from squeeze_onnx.compress.selectors.tracy_widom import TracyWidomEdge

__all__ = [
    "SELECTORS",
    "EffectiveRank",
    "Energy",
    "FixedRank",
    "NoiseModel",
    "OptimalHardThreshold",
    "OptimalShrinkage",
    "RankChoice",
    "RankSelector",
    "StableRank",
    "TracyWidomEdge",
    "selector_of",
]
