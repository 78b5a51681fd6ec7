"""Squeezing a loaded model: survey → plan → rewritten model → distillation → certificate. Nothing is written to disk."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir

from squeeze_onnx.compress.config import DEFAULT_KEEP, DEFAULT_OBJECTIVE, OptimizeConfig
from squeeze_onnx.compress.factoring import rewrite_sites
from squeeze_onnx.compress.floors import with_floors
from squeeze_onnx.compress.forecast import allocator_for, predicted_damage
from squeeze_onnx.compress.last_look import Looker
from squeeze_onnx.compress.lowering import finish, planned_precision
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.model_steps import refuse_broken, steps_of
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.planning import make_plan, planned_sites_of
from squeeze_onnx.compress.preparing import prepare
from squeeze_onnx.compress.refit import refit_sites
from squeeze_onnx.compress.slicing import slice_sites
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.step_watch import Watch
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.compress.validation_text import distillation_of, text_to_learn_on
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.last_look import StepName, Witness, unwatched
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.graph.io.model import OnnxModel, save_model
from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.learning.objectives import imitation_losses, learning_rate
from squeeze_onnx.spectral.decompositions import Automatic, Decomposer
from squeeze_onnx.spectral.regression import RIDGE
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.stopwatch import Stopwatch


def squeeze(
    model: OnnxModel,
    config: OptimizeConfig | None = None,
    calibration: Sequence[CalibrationBatch] = (),
    *,
    plan: Plan | None = None,
    checkpoint: CheckpointConfig | None = None,
    track: Track = silent,
) -> SqueezeResult:
    """Squeeze ``model``, whose graph changes in place.

    >>> import squeeze_onnx as so
    >>> model = so.load_model("bert/")  # doctest: +SKIP
    >>> calibration = so.load_calibration(model, so.CalibrationConfig("sentences.txt"))  # doctest: +SKIP
    >>> result = so.squeeze(model, so.OptimizeConfig(keep=0.5), calibration)  # doctest: +SKIP
    >>> result.plan.kept_parameters / result.plan.eligible_parameters  # doctest: +SKIP
    0.4999
    >>> so.save_model(model.ir, "small.onnx")  # doctest: +SKIP

    ``calibration`` is what the model will read in use, without labels (see `load_calibration`); methods that look at
    activations need it. What that holds back is what the certificate is measured on. A ``plan`` is re-applied as it stands: its
    method and ranks count, not those of ``config``. Distillation keeps its state in ``checkpoint``. Where operators are fused or
    weights rounded, ``model`` of the result is what came of it.

    Raises ModelError if no site is eligible, OptionError if the plan does not fit the model or the method lacks data,
    LastLookError if the result answers far from what was predicted.
    """
    config = config or OptimizeConfig()
    prepare(model.ir, config)
    dense = OnnxModel(model.path, model.ir.clone())
    looker = Looker(dense, calibration, asked=config.asked, provider=config.provider, track=track)
    precision = planned_precision(plan, config).name
    watch = Watch(looker, steps_of(config, precision))
    survey = take_survey(model, config, calibration, plan=plan, track=track)
    predicted = predicted_damage(model, survey, config) if plan is None else None
    result = squeeze_surveyed(
        model,
        survey,
        config,
        calibration,
        plan=plan,
        checkpoint=checkpoint,
        witness=watch if calibration else unwatched,
        track=track,
    )
    clock = Stopwatch()
    damage: Mapping[StepName, float | None] = {"squeezing": predicted}
    if config.fuse is not None or precision != PlannedPrecision.name:
        finished = finish(
            result.model,
            result.plan,
            config,
            calibration,
            clock=clock,
            witness=watch if calibration else unwatched,
            track=track,
        )
        result = replace(
            result, model=finished.model, plan=finished.plan, fused=finished.fused, precision=finished.precision
        )
        damage = {**damage, "fusing": 0.0, "rounding": finished.precision["predicted_damage"]}
    if calibration:
        with clock.stage("last look"), TemporaryDirectory(prefix="squeeze-onnx-") as folder:
            seen = watch.file(save_model(result.model.ir, Path(folder) / "model.onnx")[0])
            look = watch.conclude(seen, damage)
            refuse_broken(look, watch.steps, force=config.force_write)
            certificate = None if isinstance(seen, str) else looker.certificate(seen)
        result = replace(result, last_look=look, certificate=certificate)
    return replace(result, timing={**result.timing, **clock.seconds})


def squeeze_surveyed(
    model: OnnxModel,
    survey: Survey,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch] = (),
    *,
    plan: Plan | None = None,
    checkpoint: CheckpointConfig | None = None,
    store: Store = in_memory,
    witness: Witness = unwatched,
    track: Track = silent,
) -> SqueezeResult:
    """Squeeze ``model``, whose graph changes in place, by what ``survey`` found in it; no last look, else see `squeeze`.

    New weights go to ``store``; the ``witness`` sees the model after each step.
    """
    if config.distill and not calibration:
        raise OptionError(
            "--distill learns from text; give --calibration a text file, glue:TASK (with --data) or an .npz"
        )
    dense = model.ir.clone()
    plan = plan or plan_for(model, survey, config)
    fitted = text_to_learn_on(calibration, config)
    result = carry_out(
        model,
        plan,
        survey,
        fitted,
        decomposer=config.decomposing.decomposer(),
        provider=config.provider,
        store=store,
        track=track,
    )
    witness("squeezing", model.ir)
    if config.distill:
        result = distilled(result, dense, config, calibration, checkpoint=checkpoint, track=track)
        witness("distillation", model.ir)
    return result


def plan_for(model: OnnxModel, survey: Survey, config: OptimizeConfig) -> Plan:
    """Spend the budget of ``config`` on what ``survey`` found in ``model``; the survey may serve several budgets."""
    return make_plan(
        with_floors(survey.spectra, config.floor),
        allocator_for(config, survey, model),
        method=survey.method,
        budget=_budget(config, survey.method),
        above_break_even=config.above_break_even,
        skipped=survey.skipped,
        refit=METHODS[survey.method].refits if config.refit is None else config.refit,
    )


def carry_out(
    model: OnnxModel,
    plan: Plan,
    survey: Survey,
    calibration: Sequence[CalibrationBatch] = (),
    *,
    ridge: float = RIDGE,
    decomposer: Decomposer | None = None,
    provider: str = "cpu",
    store: Store = in_memory,
    track: Track = silent,
) -> SqueezeResult:
    """Rewrite ``model``, which changes in place, as ``plan`` says; ``survey`` may be that of another copy of it.

    New weights go to ``store``, and can be read as long as it is open.
    A plan with ``refit`` runs the model on ``calibration``. Raises OptionError if there is none.
    """
    clock = Stopwatch()
    with clock.stage("rewrite"):
        sites = planned_sites_of(plan, find_sites(model.ir).sites)
        dense = model.ir.clone()
        errors = slice_sites(model.ir, sites, plan.sites, survey.blocks, shift_biases=not plan.refit, store=store)
        left = {site.name: site for site in find_sites(model.ir).sites}
        sites = tuple(left[planned.name] for planned in plan.sites)
        weighting_of, decomposer = survey.weighting_of, decomposer or Automatic()
        if plan.refit:
            errors |= refit_sites(
                model.ir,
                dense,
                sites,
                plan.sites,
                _required(calibration),
                weighting_of=weighting_of,
                decomposer=decomposer,
                ridge=ridge,
                fisher=survey.fisher,
                provider=provider,
                store=store,
                track=track,
            )
        else:
            errors |= rewrite_sites(
                model.ir, sites, plan.sites, weighting_of, decomposer=decomposer, store=store, track=track
            )
    return SqueezeResult(model, plan, survey.spectra, errors, {**survey.timing, **clock.seconds}, survey.stages)


def distilled(
    result: SqueezeResult,
    dense: ir.Model,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch],
    *,
    checkpoint: CheckpointConfig | None = None,
    track: Track = silent,
) -> SqueezeResult:
    """Let the squeezed model, whose weights change in place, learn to imitate the ``dense`` one for ``config.distill`` steps."""
    clock = Stopwatch()
    head = head_of(result.model, config.asked)
    with clock.stage("distillation"):
        outcome = distill(
            result.model.ir,
            dense,
            imitation_losses(dense, head),
            calibration,
            replace(distillation_of(config), rate=learning_rate(head)),
            provider=config.provider,
            checkpoint=checkpoint,
            track=track,
        )
    return replace(result, distillation=outcome, timing={**result.timing, **clock.seconds})


def _budget(config: OptimizeConfig, method: str) -> dict[str, Any]:
    """What was asked for, as the plan records it."""
    if config.preset:
        return {"preset": config.preset}
    if config.rank_rule is not None:
        return {"rank_rule": config.rank_rule, "probability": config.probability, "noise": config.noise}
    if config.keep is None and method == "squeeze":
        return {"probability": config.probability, "noise": config.noise}
    floors = {"floor": dict(config.floor)} if config.floor else {}
    objective = {"objective": config.objective} if config.objective != DEFAULT_OBJECTIVE else {}
    return {"keep": config.keep or DEFAULT_KEEP, **objective, **floors}


def _required(calibration: Sequence[CalibrationBatch]) -> Sequence[CalibrationBatch]:
    if not calibration:
        raise OptionError(
            "refitting runs the model on data; give --calibration a text file, glue:TASK (with --data) or an .npz, "
            "or leave it out with --no-refit"
        )
    return calibration
