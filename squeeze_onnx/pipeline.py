"""The stages in order: load → sites → spectra → plan → rewrite → save. The only module that sees them all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from squeeze_onnx.allocators import Allocator, Independent
from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.calibration_source import CalibrationConfig, load_calibration
from squeeze_onnx.certificate import Certificate
from squeeze_onnx.certifying import certify
from squeeze_onnx.companions import copy_companions
from squeeze_onnx.config import DEFAULT_KEEP, AnalyzeConfig, OptimizeConfig
from squeeze_onnx.decompositions import Exact
from squeeze_onnx.eligibility import choose_eligible, is_excluded
from squeeze_onnx.errors import ModelError, OptionError
from squeeze_onnx.factoring import TruncationErrors, rewrite_sites
from squeeze_onnx.floors import with_floors
from squeeze_onnx.graph.fusion import fuse_squeezed
from squeeze_onnx.graph.model import OnnxModel, load_model, refuse_overwriting_input, save_model
from squeeze_onnx.graph.sites import find_sites
from squeeze_onnx.graph.size import ModelSize, measure_size
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.learning.distill import Distillation, DistillConfig, distill
from squeeze_onnx.learning.objectives import imitation_losses
from squeeze_onnx.methods import METHODS
from squeeze_onnx.plan import Plan
from squeeze_onnx.planning import make_plan, planned_sites_of
from squeeze_onnx.presets import PRESETS
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.report.html import render_optimization
from squeeze_onnx.report.json import analysis_report, optimization_report
from squeeze_onnx.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.selectors import TracyWidomEdge
from squeeze_onnx.sequential import refit_sites
from squeeze_onnx.slicing import slice_sites, slicings_of
from squeeze_onnx.spectra import SiteSpectra, measure_spectra
from squeeze_onnx.staging import staged_folder
from squeeze_onnx.stopwatch import Stopwatch
from squeeze_onnx.survey import Survey, nothing_to_do, take_survey
from squeeze_onnx.survey_cache import cached_survey, check_cache
from squeeze_onnx.tasks.head_choice import choose_head
from squeeze_onnx.tasks.model_config import read_model_config


@dataclass(frozen=True)
class SqueezeResult:
    """A squeezed model, the plan that was carried out, the spectra behind it, and what each rewritten site lost.

    ``timing`` is in seconds per stage; ``errors`` holds the rewritten sites only, by name, as they were before ``distillation``.
    Without calibration data there is no ``certificate``.
    """

    model: OnnxModel
    plan: Plan
    spectra: tuple[SiteSpectra, ...]
    errors: Mapping[str, TruncationErrors]
    timing: Mapping[str, float]
    distillation: Distillation | None = None
    certificate: Certificate | None = None


def analyze(path: str | Path, config: AnalyzeConfig | None = None, track: Track = silent) -> dict[str, Any]:
    """Hold the spectrum of every site of the model at ``path`` against pure noise.

    Returns the JSON report. Raises ModelError for a file that is not a usable model or has no site at all.
    """
    config = config or AnalyzeConfig()
    clock = Stopwatch()
    with clock.stage("load"):
        model = load_model(path)
    with clock.stage("sites"):
        found = find_sites(model.ir)
        eligibility = choose_eligible(found.sites, config.include, config.exclude)
        if not found.sites:
            raise nothing_to_do(model, found.skipped)
    with clock.stage("spectra"):
        looked_at = [site for site in found.sites if not is_excluded(site, config.exclude)]
        spectra = measure_spectra(looked_at, METHODS["squeeze"].weighting_of({}), config, track)
    return analysis_report(
        config=config,
        spectra=spectra,
        eligible={site.name for site in eligibility.sites},
        skipped=found.skipped + eligibility.left_out,
        size=measure_size(model),
        timing=clock.seconds,
    )


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

    ``calibration`` is what the model will read in use, without labels (see `load_calibration`); methods that look at
    activations need it. A ``plan`` is re-applied as it stands: its method and ranks count, not those of ``config``. Distillation
    keeps its state in ``checkpoint``.

    Raises ModelError if no site is eligible, OptionError if the plan does not fit the model or the method lacks data.
    """
    config = config or OptimizeConfig()
    survey = take_survey(model, config, calibration, plan=plan, track=track)
    return squeeze_surveyed(model, survey, config, calibration, plan=plan, checkpoint=checkpoint, track=track)


def squeeze_surveyed(
    model: OnnxModel,
    survey: Survey,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch] = (),
    *,
    plan: Plan | None = None,
    checkpoint: CheckpointConfig | None = None,
    track: Track = silent,
) -> SqueezeResult:
    """Squeeze ``model``, whose graph changes in place, by what ``survey`` found in it; see `squeeze`."""
    if config.distill and not calibration:
        raise OptionError(
            "--distill learns from text; give --calibration a text file, glue:TASK (with --data) or an .npz"
        )
    dense = model.ir.clone()
    plan = plan or plan_for(model, survey, config)
    result = carry_out(model, plan, survey, calibration, provider=config.provider, track=track)
    if config.distill:
        result = distilled(result, dense, config, calibration, checkpoint=checkpoint, track=track)
    return certified(result, dense, calibration, provider=config.provider, track=track) if calibration else result


def plan_for(model: OnnxModel, survey: Survey, config: OptimizeConfig) -> Plan:
    """Spend the budget of ``config`` on what ``survey`` found in ``model``; the survey may serve several budgets."""
    return make_plan(
        with_floors(survey.spectra, config.floor),
        _allocator(config, survey, model),
        method=survey.method,
        budget=_budget(config, survey.method),
        above_break_even=config.above_break_even,
        skipped=survey.skipped,
        refit=METHODS[survey.method].needs_calibration if config.refit is None else config.refit,
    )


def carry_out(
    model: OnnxModel,
    plan: Plan,
    survey: Survey,
    calibration: Sequence[CalibrationBatch] = (),
    *,
    provider: str = "cpu",
    track: Track = silent,
) -> SqueezeResult:
    """Rewrite ``model``, which changes in place, as ``plan`` says; ``survey`` may be that of another copy of it.

    A plan with ``refit`` runs the model on ``calibration``. Raises OptionError if there is none.
    """
    clock = Stopwatch()
    with clock.stage("rewrite"):
        sites = planned_sites_of(plan, find_sites(model.ir).sites)
        dense = model.ir.clone()
        errors = slice_sites(model.ir, sites, plan.sites, survey.blocks, shift_biases=not plan.refit)
        left = {site.name: site for site in find_sites(model.ir).sites}
        sites = tuple(left[planned.name] for planned in plan.sites)
        weighting_of, decomposer = survey.weighting_of, Exact()
        if plan.refit:
            errors |= refit_sites(
                model.ir,
                dense,
                sites,
                plan.sites,
                _required(calibration),
                weighting_of=weighting_of,
                decomposer=decomposer,
                provider=provider,
                track=track,
            )
        else:
            errors |= rewrite_sites(model.ir, sites, plan.sites, weighting_of, decomposer=decomposer, track=track)
    return SqueezeResult(model, plan, survey.spectra, errors, {**survey.timing, **clock.seconds})


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
    with clock.stage("distillation"):
        model = result.model
        head = choose_head(open_session(model.path), read_model_config(model.folder), None)
        outcome = distill(
            model.ir,
            dense,
            imitation_losses(dense, head),
            calibration,
            DistillConfig(steps=None if config.distill == "auto" else config.distill, seed=config.seed),
            provider=config.provider,
            checkpoint=checkpoint,
            track=track,
        )
    return replace(result, distillation=outcome, timing={**result.timing, **clock.seconds})


def certified(
    result: SqueezeResult,
    dense: ir.Model,
    calibration: Sequence[CalibrationBatch],
    *,
    provider: str = "cpu",
    track: Track = silent,
) -> SqueezeResult:
    """Measure how far the answers to ``calibration`` moved from those of ``dense``, and bound it where the head is linear."""
    clock = Stopwatch()
    with clock.stage("certificate"):
        model = result.model
        try:
            head = choose_head(open_session(model.path), read_model_config(model.folder), None)
        except ModelError as error:  # any model can be squeezed, but not all answer in a way that can be compared
            texts = sum(len(next(iter(batch.feeds.values()))) for batch in calibration)
            certificate = Certificate(texts, (f"Nothing was measured: {error}.",))
        else:
            certificate = certify(dense, model.ir, head, calibration, provider=provider, track=track)
    return replace(result, certificate=certificate, timing={**result.timing, **clock.seconds})


def optimize(
    path: str | Path,
    out: str | Path,
    config: OptimizeConfig | None = None,
    *,
    calibration: CalibrationConfig | None = None,
    plan: Plan | None = None,
    checkpoint: CheckpointConfig | None = None,
    cache: Path | None = None,
    force: bool = False,
    track: Track = silent,
) -> dict[str, Any]:
    """Squeeze the model at ``path`` into the folder ``out``, which appears whole or not at all.

    With a folder ``cache`` what is learned of the model is kept there, for other budgets. Returns the content of ``report.json``.
    Raises ModelError, DataError, OptionError or OutputError.
    """
    config = config or OptimizeConfig()
    out = Path(out)
    if cache is not None:
        check_cache(cache, out)
        if plan is not None:
            raise OptionError("--cache keeps what a new plan is made from; leave it out with --plan")
    clock = Stopwatch()
    # Without data nothing is run, and a machine without onnxruntime will do.
    if calibration is not None or config.provider != "cpu":
        resolve_provider(config.provider)
    with clock.stage("load"):
        model = load_model(path)
        refuse_overwriting_input(model, out)
        before = measure_size(model)
        batches = load_calibration(model, calibration) if calibration else ()
    with staged_folder(out, force=force) as folder:
        if cache is None:
            survey = take_survey(model, config, batches, plan=plan, track=track)
        else:
            survey = cached_survey(cache, model, config, batches, track=track)
        result = squeeze_surveyed(model, survey, config, batches, plan=plan, checkpoint=checkpoint, track=track)
        report = write_folder(result, folder, config, before, clock)
    if checkpoint is not None:
        checkpoint.path.unlink(missing_ok=True)  # its result is written
    return report


def write_folder(
    result: SqueezeResult, folder: Path, config: OptimizeConfig, before: ModelSize, clock: Stopwatch
) -> dict[str, Any]:
    """Fill the empty ``folder``: the model, its tokenizer and configuration, the plan and the reports.

    ``before`` is the size of the model as it was loaded, ``clock`` what was timed so far. Returns ``report.json``.
    """
    fused = None
    if config.fuse is not None:
        with clock.stage("fuse"):
            fused = fuse_squeezed(result.model, config.fuse)
    with clock.stage("save"):
        save_model(result.model.ir, folder / "model.onnx", external_data=config.external_data)
        copy_companions(result.model.folder, folder)
        after = measure_size(load_model(folder / "model.onnx"))
    report = optimization_report(
        config=config,
        plan=result.plan,
        spectra=result.spectra,
        errors=result.errors,
        before=before,
        after=after,
        fused=fused,
        timing={**clock.seconds, **result.timing},
        distillation=None if result.distillation is None else result.distillation.to_json(),
        certificate=None if result.certificate is None else result.certificate.to_json(),
    )
    _write_json(folder / "plan.json", result.plan.to_json())
    write_report(report, folder)
    return report


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``report`` into ``folder``, for machines and for people."""
    _write_json(folder / "report.json", report)
    (folder / "report.html").write_text(render_optimization(report), encoding="utf-8")


def _allocator(config: OptimizeConfig, survey: Survey, model: OnnxModel) -> Allocator:
    if config.preset:
        return PRESETS[config.preset]().allocator(survey.sites, measure_size(model).bytes)
    if config.keep is None and survey.method == "squeeze":
        return Independent(TracyWidomEdge(config.probability, NOISE_ESTIMATORS[config.noise]()))
    slicings = slicings_of(survey.spectra, survey.blocks)
    return METHODS[survey.method].allocator(config.keep or DEFAULT_KEEP, slicings)


def _budget(config: OptimizeConfig, method: str) -> dict[str, Any]:
    """What was asked for, as the plan records it."""
    if config.preset:
        return {"preset": config.preset}
    if config.keep is None and method == "squeeze":
        return {"probability": config.probability, "noise": config.noise}
    floors = {"floor": dict(config.floor)} if config.floor else {}
    return {"keep": config.keep or DEFAULT_KEEP, **floors}


def _required(calibration: Sequence[CalibrationBatch]) -> Sequence[CalibrationBatch]:
    if not calibration:
        raise OptionError(
            "refitting runs the model on data; give --calibration a text file, glue:TASK (with --data) or an .npz, "
            "or leave it out with --no-refit"
        )
    return calibration


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
