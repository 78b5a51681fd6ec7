"""Allocators: how many components each site keeps, given all sites at once and a budget.

Selectors look at one spectrum and propose; an allocator sees every site and decides. A new allocator is one file here, one
line in `ALLOCATORS` and one test file.
"""

from squeeze_onnx.compress.allocators.base import Allocator, Alternative, Candidate, Choice
from squeeze_onnx.compress.allocators.edge_distance import EdgeDistance
from squeeze_onnx.compress.allocators.effective_rank import EffectiveRankReduction
from squeeze_onnx.compress.allocators.global_budget import BudgetError, GlobalBudget
from squeeze_onnx.compress.allocators.independent import Independent
from squeeze_onnx.compress.allocators.objective import PARAMETERS, Cost, Objective, ParameterCount
from squeeze_onnx.compress.allocators.removal_choice import RemovableSublayer, RemovalChoice
from squeeze_onnx.compress.allocators.share_choice import ShareChoice, Sharing
from squeeze_onnx.compress.allocators.slice_choice import SliceChoice, Slicing
from squeeze_onnx.compress.allocators.uniform import Uniform

ALLOCATORS: dict[str, type[Allocator]] = {
    "edge_distance": EdgeDistance,
    "effective_rank": EffectiveRankReduction,
    "global_budget": GlobalBudget,
    "independent": Independent,
    "uniform": Uniform,
}

__all__ = [
    "ALLOCATORS",
    "PARAMETERS",
    "Allocator",
    "Alternative",
    "BudgetError",
    "Candidate",
    "Choice",
    "Cost",
    "EdgeDistance",
    "EffectiveRankReduction",
    "GlobalBudget",
    "Independent",
    "Objective",
    "ParameterCount",
    "RemovableSublayer",
    "RemovalChoice",
    "ShareChoice",
    "Sharing",
    "SliceChoice",
    "Slicing",
    "Uniform",
]
