"""Which allocator a budget calls for, and what it predicts of this budget and of others."""

from dataclasses import replace
from typing import Any

from squeeze_onnx.compress.allocators import Allocator, Alternative, Candidate, GlobalBudget, Independent
from squeeze_onnx.compress.allocators.tied_widths import parted
from squeeze_onnx.compress.config import DEFAULT_KEEP
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.limits import with_limits
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.compress.selectors import TracyWidomEdge
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.support.errors import OptionError

FORECAST_BUDGETS = tuple(step / 10 for step in range(1, 10))
"""What other budgets would do is predicted at keep 0.1, 0.2 … 0.9."""


def allocator_for(context: Context, survey: Survey) -> Allocator:
    """Return what spends the budget: a rule of each weight by itself, or one for all that ``survey`` saw."""
    config = context.config
    if config.preset:
        return PRESETS[config.preset]().allocator(survey.sites, context.size.bytes)
    if config.rank_selector is not None:
        return Independent(config.rank_selector)
    if config.keep is None and survey.method == "squeeze":
        return Independent(TracyWidomEdge(config.probability, NOISE_ESTIMATORS[config.noise]()))
    alternatives: tuple[Alternative, ...] = slicings_of(survey.spectra, survey.blocks)
    if config.joint_qkv:
        alternatives += survey.sharings
    keep = config.keep or DEFAULT_KEEP
    if config.byte_limit is not None:
        whole = GlobalBudget(1.0, (), survey.objective).whole(candidates_of(context, survey))
        keep = min(config.byte_limit / whole, 1.0)
    allocator = METHODS[survey.method].spend(keep, alternatives, survey.objective)
    if survey.removable and isinstance(allocator, GlobalBudget):
        allocator = replace(allocator, removable=survey.removable)
    if config.keep_cache is None:
        return allocator
    _, tied = parted(alternatives)
    if not tied or not isinstance(allocator, GlobalBudget):
        why = survey.whole_heads or "this model has no cache of keys and values whose heads can be made thinner"
        raise OptionError(f"`keep_cache` {config.keep_cache} cannot be had: {why}")
    return replace(allocator, tied_share=config.keep_cache)


def candidates_of(context: Context, survey: Survey) -> list[Candidate]:
    """Return the sites as an allocator sees them, with the limits that are asked for."""
    return [measured.candidate for measured in with_limits(survey.spectra, context.config)]


def frontier_for(context: Context, survey: Survey) -> dict[str, Any] | None:
    """Predict what the budget and others do to the model, as plain values; None if the method predicts nothing."""
    allocator = allocator_for(context, survey)
    if not isinstance(allocator, GlobalBudget):
        return None
    points = allocator.forecast(candidates_of(context, survey), sorted({*FORECAST_BUDGETS, allocator.keep}))
    return {"of": allocator.objective.name, "keep": allocator.keep, "points": [point.to_json() for point in points]}


def predicted_output_error(context: Context, survey: Survey) -> float | None:
    """Return how far the budget is predicted to move the outputs of the model, as `OutputErrorMeter` measures it.

    None if the method does not measure what weights do to the outputs, and for a plan that was given.
    """
    if context.plan is not None:
        return None
    allocator = allocator_for(context, survey)
    if not isinstance(allocator, GlobalBudget) or not METHODS[survey.method].probes:
        return None
    return next(
        (point.output_error for point in allocator.forecast(candidates_of(context, survey), [allocator.keep])), None
    )
