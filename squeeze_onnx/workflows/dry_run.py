"""What `optimize` would come to, told from the survey: nothing is learned, refitted or written."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from squeeze_onnx.compress.calibration_entry import calibration_entry
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.drafts import Draft, draft_plan
from squeeze_onnx.compress.embedding_output.stage import bytes_of_output
from squeeze_onnx.compress.forecast import frontier_for, predicted_output_error
from squeeze_onnx.compress.lowering import finish, planned_precision
from squeeze_onnx.compress.objectives import predicted_share
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.precision import PRECISIONS
from squeeze_onnx.compress.size_goal import SizeGoal
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.compress.tokens.stage import prunes
from squeeze_onnx.graph.quantized.few_bits import is_lookup
from squeeze_onnx.report.json import model_entry
from squeeze_onnx.runtime.sessions import session_threads
from squeeze_onnx.support.environment import created_now, environment
from squeeze_onnx.support.stopwatch import Stopwatch
from squeeze_onnx.workflows.explicit_command import goal_entry
from squeeze_onnx.workflows.given import Given
from squeeze_onnx.workflows.kept_words import with_kept_words, words_notes
from squeeze_onnx.workflows.opening import opened, settled, surveyed, text_notes

FORMAT = "squeeze-onnx/forecast/1"


def foresee(
    path: str | Path, out: str | Path, config: OptimizeConfig | None = None, **given: Unpack[Given]
) -> dict[str, Any]:
    """Return what `optimize` would make of the model at ``path``, as plain values; nothing is written.

    Bytes are those of the graph with its weights as they would be stored; damage is what the outputs are predicted to move, as a
    share of their variance, before a refit or distillation mends some of it. Raises what `optimize` raises of its settings.
    """
    config, calibration = settled(path, config or OptimizeConfig(), given.get("calibration"))
    clock = Stopwatch()
    with (
        session_threads(config.threads),
        with_kept_words(path, Path(out), config, calibration, clock) as (dense, words),
    ):
        with clock.stage("load"):
            context = replace(opened(dense, config, calibration, given), words=words)
        context, survey, goal = surveyed(context, given.get("cache"))
        plan = context.plan or plan_for(context, survey)
        with clock.stage("forecast"):
            draft = _draft(context, plan, survey, goal)
        latency = context.config.objective == "latency"
        return {
            "format": FORMAT,
            "created": created_now(),
            "model": model_entry(context.dense.path),
            "method": plan.method,
            "precision": planned_precision(context.plan, context.config).name,
            "budget": dict(plan.budget),
            "size": {"baseline_bytes": context.given_size.bytes, "predicted_bytes": draft.bytes},
            "products_share": _products_share(context, plan),
            "latency_share": predicted_share(plan, survey.objective) if latency else None,
            "damage": {"cut": predicted_output_error(context, survey), "rounding": draft.rounding},
            "calibration": None
            if calibration is None
            else calibration_entry(calibration, context.batches, context.weighed),
            "goal": goal_entry(context, calibration, (Path(path), Path(out)), goal),
            "notes": [*text_notes(calibration), *words_notes(words), *_tokens_notes(context)],
            "vocabulary": None if words is None else words.to_json(),
            "frontier": frontier_for(context, survey) if context.plan is None else None,
            "timing": {**survey.timing, **clock.seconds},
            "environment": environment(),
        }


def _tokens_notes(context: Context) -> list[str]:
    """Say that fewer tokens are not foreseen."""
    told = "Which tokens go on (`prune_tokens`) is chosen on the squeezed model: what that saves and damages is not foreseen."
    return [told] if prunes(context) else []


def _draft(context: Context, plan: Plan, survey: Survey, goal: SizeGoal | None) -> Draft:
    """Return the bytes of ``plan``; where weights may stay higher for their damage, that is measured on unrefitted ones."""
    if goal is not None:
        return Draft(goal.bytes, goal.chosen.rounding)
    precision = planned_precision(context.plan, context.config)
    if not (context.batches and precision.kept is None and PRECISIONS[precision.name].rounds_rows):
        return draft_plan(context, plan, survey, precision)
    cut = carry_out(context, replace(plan, refit=False), survey)
    finished = finish(context, cut.model, plan, clock=Stopwatch())
    size = finished.precision["bytes"]["after"] + bytes_of_output(context)
    return Draft(size, finished.precision["predicted_damage"])


def _products_share(context: Context, plan: Plan) -> float | None:
    """Return how much of the multiplications with constant weights stays; None if the model has none."""
    weights = {site.name: site.parameters for site in context.found.sites if not is_lookup(site)}
    kept = weights | {site.name: site.kept_parameters for site in plan.sites if site.name in weights}
    whole = sum(weights.values())
    return sum(kept.values()) / whole if whole else None
