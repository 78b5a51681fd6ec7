"""Allocators: how many components each site keeps, given all sites at once and a budget.

Selectors look at one spectrum and propose; an allocator sees every site and decides. A new allocator is one file here, one
line in `ALLOCATORS` and one test file.
"""

from squeeze_onnx.allocators.base import Allocator, Alternative, Candidate, Choice
from squeeze_onnx.allocators.edge_distance import EdgeDistance
from squeeze_onnx.allocators.effective_rank import EffectiveRankReduction
from squeeze_onnx.allocators.global_budget import GlobalBudget
from squeeze_onnx.allocators.independent import Independent
from squeeze_onnx.allocators.sharing import ShareChoice, Sharing
from squeeze_onnx.allocators.slicing import SliceChoice, Slicing
from squeeze_onnx.allocators.uniform import Uniform

ALLOCATORS: dict[str, type[Allocator]] = {
    "edge_distance": EdgeDistance,
    "effective_rank": EffectiveRankReduction,
    "global_budget": GlobalBudget,
    "independent": Independent,
    "uniform": Uniform,
}

__all__ = [
    "ALLOCATORS",
    "Allocator",
    "Alternative",
    "Candidate",
    "Choice",
    "EdgeDistance",
    "EffectiveRankReduction",
    "GlobalBudget",
    "Independent",
    "ShareChoice",
    "Sharing",
    "SliceChoice",
    "Slicing",
    "Uniform",
]
