"""Which allocator a budget calls for, and what it predicts of this budget and of others."""

from dataclasses import asdict
from typing import Any

from squeeze_onnx.compress.allocators import Allocator, Alternative, GlobalBudget, Independent
from squeeze_onnx.compress.config import DEFAULT_KEEP, OptimizeConfig
from squeeze_onnx.compress.floors import with_floors
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.compress.selectors import TracyWidomEdge
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS

FORECAST_BUDGETS = tuple(step / 10 for step in range(1, 10))
"""What other budgets would do is predicted at keep 0.1, 0.2 … 0.9."""


def allocator_for(config: OptimizeConfig, survey: Survey, model: OnnxModel) -> Allocator:
    """Return what spends the budget of ``config``: a rule of each weight by itself, or one for all that ``survey`` saw."""
    if config.preset:
        return PRESETS[config.preset]().allocator(survey.sites, measure_size(model).bytes)
    if config.rank_selector is not None:
        return Independent(config.rank_selector)
    if config.keep is None and survey.method == "squeeze":
        return Independent(TracyWidomEdge(config.probability, NOISE_ESTIMATORS[config.noise]()))
    alternatives: tuple[Alternative, ...] = slicings_of(survey.spectra, survey.blocks)
    if config.joint_qkv:
        alternatives += survey.sharings
    return METHODS[survey.method].spend(config.keep or DEFAULT_KEEP, alternatives, survey.objective)


def frontier_for(model: OnnxModel, survey: Survey, config: OptimizeConfig) -> dict[str, Any] | None:
    """Predict what the budget of ``config`` and others do to ``model``, as plain values; None if the method predicts nothing."""
    allocator = allocator_for(config, survey, model)
    if not isinstance(allocator, GlobalBudget):
        return None
    candidates = [measured.candidate for measured in with_floors(survey.spectra, config.floor)]
    points = allocator.forecast(candidates, sorted({*FORECAST_BUDGETS, allocator.keep}))
    return {"of": allocator.objective.name, "keep": allocator.keep, "points": [asdict(point) for point in points]}


def predicted_damage(model: OnnxModel, survey: Survey, config: OptimizeConfig) -> float | None:
    """Return how far the budget of ``config`` is predicted to move the outputs of ``model``, as `DamageMeter` measures it.

    None if the method does not measure what weights do to the outputs.
    """
    allocator = allocator_for(config, survey, model)
    if not isinstance(allocator, GlobalBudget) or not METHODS[survey.method].probes:
        return None
    candidates = [measured.candidate for measured in with_floors(survey.spectra, config.floor)]
    return next((point.damage for point in allocator.forecast(candidates, [allocator.keep])), None)
