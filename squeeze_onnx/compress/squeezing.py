"""Squeezing a loaded model: survey → plan → rewritten model → distillation → certificate. Nothing is written to disk."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from squeeze_onnx.compress.config import DEFAULT_KEEP, DEFAULT_OBJECTIVE, OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.factoring import Truncating, rewrite_sites
from squeeze_onnx.compress.forecast import allocator_for, predicted_output_error
from squeeze_onnx.compress.forms.removed import removed_sites
from squeeze_onnx.compress.forms.sliced import kept_shapes
from squeeze_onnx.compress.limits import with_limits
from squeeze_onnx.compress.looker import looker_of
from squeeze_onnx.compress.lowering import evidence_for, finish, planned_precision, precision_of
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.model_steps import refuse_broken, steps_of
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.planning import make_plan, planned_sites_of
from squeeze_onnx.compress.precision.learned import RoundedLearning
from squeeze_onnx.compress.preparing import prepare, stored_alike
from squeeze_onnx.compress.refit import Refitting, refit_sites
from squeeze_onnx.compress.removal import ALL_LOST, remove_sublayers
from squeeze_onnx.compress.slicing import slice_sites
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.step_watch import Watch
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.compress.tokens.stage import prune, prunes, refuse_unprunable
from squeeze_onnx.compress.validation_text import distillation_of
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.last_look import StepName, StepObserver, unwatched
from squeeze_onnx.graph.io.model import OnnxModel, save_model
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.removal import fold_constants
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.learning.distillation_losses import distillation_losses, learning_rate
from squeeze_onnx.learning.teaching import Teaching
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
    if config.byte_limit is not None or config.effort is not None:
        raise OptionError(
            "max_size and effort are goals of optimize, which writes a file of that size; give squeeze a keep and a precision"
        )
    if config.shrinks_output:
        raise OptionError(
            "output_dimensions and output_type are read by files beside the model, which optimize writes; give squeeze neither"
        )
    config = stored_alike(model.ir, config, plan)
    prepare(model.ir, config)
    dense = OnnxModel(model.path, model.ir.clone())
    context = Context(dense, config, calibration, plan, checkpoint, track=track, looked_at=bool(calibration))
    precision = planned_precision(plan, config).name
    refuse_unprunable(context)
    watch = Watch(looker_of(context), steps_of(config, precision, prunes=prunes(context)))
    observer = watch if calibration else unwatched
    survey = take_survey(context)
    predicted = predicted_output_error(context, survey)
    result = squeeze_surveyed(context, survey, observer, into=model)
    clock = Stopwatch()
    output_error: Mapping[StepName, float | None] = {
        "squeezing": predicted,
        "pruning": None if result.tokens is None else result.tokens.damage,
    }
    if config.fuse is not None or precision != PlannedPrecision.name:
        finished = finish(context, result.model, result.plan, clock=clock, observer=observer, encoded=result.encoded)
        result = replace(
            result, model=finished.model, plan=finished.plan, fused=finished.fused, precision=finished.precision
        )
        output_error = {**output_error, "fusing": 0.0, "rounding": finished.precision["predicted_damage"]}
    if calibration:
        with clock.stage("last look"), TemporaryDirectory(prefix="squeeze-onnx-") as folder:
            seen = watch.file(save_model(result.model.ir, Path(folder) / "model.onnx")[0])
            look = watch.conclude(seen, output_error)
            refuse_broken(look, watch.steps, force=config.force_write)
            certificate = None if isinstance(seen, str) else watch.looker.certificate(seen)
        result = replace(result, last_look=look, certificate=certificate)
    return replace(result, timing={**result.timing, **clock.seconds})


def squeeze_surveyed(
    context: Context, survey: Survey, observer: StepObserver = unwatched, *, into: OnnxModel | None = None
) -> SqueezeResult:
    """Squeeze a copy of the dense model by what ``survey`` found in it; no last look, else see `squeeze`.

    The ``observer`` sees the model after each step. The graph of ``into``, another copy, changes in place if it is given.
    """
    config = context.config
    if config.distill and not context.batches:
        raise OptionError(
            "`distill` learns from text; give `calibration` a text file, glue:TASK (with `data`) or an .npz"
        )
    result = carry_out(context, context.plan or plan_for(context, survey), survey, into=into)
    observer("squeezing", result.model.ir)
    result = pruned(context, result)
    if result.tokens is not None:
        observer("pruning", result.model.ir)
    if config.distill:
        result = distilled(context, result)
        observer("distillation", result.model.ir)
    if removed_sites(result.plan.sites):
        fold_constants(result.model.ir)
    return result


def plan_for(context: Context, survey: Survey) -> Plan:
    """Spend the budget on what ``survey`` found in the model; the survey may serve several budgets."""
    config = context.config
    plan = make_plan(
        with_limits(survey.spectra, config),
        allocator_for(context, survey),
        method=survey.method,
        budget=_budget(config, survey.method),
        above_break_even=config.above_break_even,
        skipped=survey.skipped,
    )
    return replace(plan, refit=METHODS[survey.method].refits if config.refit is None else config.refit)


def carry_out(
    context: Context, plan: Plan, survey: Survey, *, into: OnnxModel | None = None, ridge: float = RIDGE
) -> SqueezeResult:
    """Rewrite a copy of the dense model as ``plan`` says; the graph of ``into``, another copy, changes in place if it is given.

    ``survey`` may be that of a copy, too. New weights go to the store of ``context``, and can be read as long as it is open.
    A plan with ``refit`` runs the model on calibration data. Raises OptionError if there is none.
    """
    clock = Stopwatch()
    with clock.stage("rewrite"):
        planned_sites_of(plan, context.found.sites)
        model = into or OnnxModel(context.dense.path, context.dense.ir.clone())
        shift_biases, store = not plan.refit, context.store
        gone = removed_sites(plan.sites)
        removals = remove_sublayers(model.ir, gone, survey.moments)
        left = tuple(planned for planned in plan.sites if planned.name not in gone)
        sites = _sites_of(left, model)
        errors = dict.fromkeys(gone, ALL_LOST) | slice_sites(
            model.ir, sites, kept_shapes(left), survey.blocks, shift_biases=shift_biases, store=store
        )
        sites = _sites_of(left, model)
        decomposer = context.config.decomposing.decomposer()
        truncating = Truncating(survey.weighting_of, decomposer, store, context.track)
        if plan.refit:
            batches, provider = _required(context.regressed), context.config.provider
            refitting = Refitting(context.dense.ir, batches, survey.fisher, ridge, provider, removals)
            errors |= refit_sites(model.ir, sites, left, truncating, refitting)
        else:
            errors |= rewrite_sites(model.ir, sites, left, truncating)
    return SqueezeResult(model, plan, survey.spectra, errors, {**survey.timing, **clock.seconds}, survey.stages)


def _sites_of(plan: Sequence[PlannedSite], model: OnnxModel) -> tuple[MatMulSite, ...]:
    """Return the sites of ``plan`` as ``model`` has them now."""
    found = {site.name: site for site in find_sites(model.ir).sites}
    return tuple(found[planned.name] for planned in plan)


def pruned(context: Context, result: SqueezeResult) -> SqueezeResult:
    """Let fewer tokens go on behind the layers of the squeezed model, whose graph changes in place, if that is asked for."""
    clock = Stopwatch()
    with clock.stage("tokens"):
        tokens = prune(context, result.model)
    planned = None if tokens is None else tokens.planned
    plan, timing = replace(result.plan, tokens=planned), {**result.timing, **clock.seconds}
    return result if tokens is None else replace(result, plan=plan, tokens=tokens, timing=timing)


def distilled(context: Context, result: SqueezeResult) -> SqueezeResult:
    """Let the squeezed model, whose weights change in place, learn to imitate the dense one for as long as is asked for.

    What will be stored in few bits learns as it will be stored, and is left so.
    """
    clock, config, student = Stopwatch(), context.config, result.model.ir
    dense, head = context.dense.ir, context.head
    losses = distillation_losses(dense, head)
    if result.tokens is not None:
        losses = result.tokens.losses(losses)
    planned = planned_precision(result.plan, config)
    with clock.stage("distillation"):
        rounded = RoundedLearning.of(precision_of(planned), student, evidence_for(context, planned))
        teaching = Teaching(
            losses,
            context.batches,
            config.provider,
            checkpoint=context.checkpoint,
            track=context.track,
            roundings=rounded.roundings(student),
        )
        outcome = distill(student, dense, teaching, replace(distillation_of(config), rate=learning_rate(head)))
        encoded = rounded.finish(student)
    timing = {**result.timing, **clock.seconds}
    return replace(result, distillation=outcome, encoded=encoded, timing=timing)


def _budget(config: OptimizeConfig, method: str) -> dict[str, Any]:
    """What was asked for, as the plan records it."""
    if config.preset:
        return {"preset": config.preset}
    if config.rank_rule is not None:
        return {"rank_rule": config.rank_rule, "probability": config.probability, "noise": config.noise}
    if config.byte_limit is not None:
        return {"max_size": config.byte_limit, "objective": "bytes"}
    if config.keep is None and method == "squeeze":
        return {"probability": config.probability, "noise": config.noise}
    floors = {"floor": dict(config.floor)} if config.floor else {}
    objective = {"objective": config.objective} if config.objective != DEFAULT_OBJECTIVE else {}
    return {"keep": config.keep or DEFAULT_KEEP, **objective, **floors}


def _required(calibration: Sequence[CalibrationBatch]) -> Sequence[CalibrationBatch]:
    if not calibration:
        raise OptionError(
            "refitting runs the model on data; give `calibration` a text file, glue:TASK (with `data`) or an .npz, "
            "or leave it out with `refit=False`"
        )
    return calibration
