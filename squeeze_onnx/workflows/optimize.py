"""The stages in order, from file to folder: load → squeeze → finish → save → report. The only module that sees them all."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from squeeze_onnx.compress.calibration_source import (
    TO_CALIBRATE,
    TO_IMITATE,
    Amount,
    CalibrationConfig,
    calibration_entry,
    load_calibration,
)
from squeeze_onnx.compress.certification import certificate_of
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.eligibility import choose_eligible, is_excluded
from squeeze_onnx.compress.lowering import finish, planned_precision
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.objectives import latency_report
from squeeze_onnx.compress.plan import Plan, read_plan
from squeeze_onnx.compress.preparing import open_model, refuse_unrunnable
from squeeze_onnx.compress.spectra import measure_spectra
from squeeze_onnx.compress.squeezing import SqueezeResult, frontier_for, squeeze_surveyed
from squeeze_onnx.compress.survey import Survey, nothing_to_do
from squeeze_onnx.compress.survey_cache import check_cache, survey_of
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.repository import find_repository, repository_of
from squeeze_onnx.evaluate.embedding_entry import embedding_entry
from squeeze_onnx.evaluate.model_head import known_head_of
from squeeze_onnx.graph.io.model import OnnxModel, load_model, refuse_overwriting_input, save_model
from squeeze_onnx.graph.io.size import ModelSize, measure_files, measure_size
from squeeze_onnx.graph.io.spilling import spill_file
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.report.html import render_optimization
from squeeze_onnx.report.json import analysis_report, optimization_report
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.support.staging import staged_folder
from squeeze_onnx.support.stopwatch import Stopwatch


def analyze(path: str | Path, config: AnalyzeConfig | None = None, track: Track = silent) -> dict[str, Any]:
    """Hold the spectrum of every site of the model at ``path`` against pure noise.

    Returns the JSON report. Raises ModelError for a file that is not a usable model or has no site at all.
    """
    config = config or AnalyzeConfig()
    clock = Stopwatch()
    with clock.stage("load"):
        model = open_model(path, config)
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
    planned_precision(plan, config)  # refused before anything takes its time
    clock = Stopwatch()
    # Without data nothing is run, and a machine without onnxruntime will do.
    if calibration is not None or config.provider != "cpu":
        resolve_provider(config.provider)
    with clock.stage("load"):
        model = open_model(path, config)
        refuse_overwriting_input(model, out)
        if calibration is not None:
            refuse_unrunnable(model, config)
        before = measure_size(model)
        dense = OnnxModel(model.path, model.ir.clone())
        batches = load_calibration(model, calibration, _usual_text(config), asked=config.asked) if calibration else ()
    with (
        staged_folder(out, force=force) as folder,
        spill_file(folder) as store,
        reserved(checkpoint.path) if checkpoint else nullcontext(),
    ):
        survey = survey_of(model, config, batches, cache=cache, plan=plan, track=track)
        frontier = frontier_for(model, survey, config) if plan is None else None
        result = squeeze_surveyed(
            model, survey, config, batches, plan=plan, checkpoint=checkpoint, store=store, track=track
        )
        report = write_folder(result, folder, config, before, clock, batches=batches, track=track)
        report |= examine_written(folder, dense, survey, config, batches, clock=clock, track=track)
        report |= {
            "calibration": None if calibration is None else calibration_entry(calibration),
            "frontier": frontier,
            "timing": {**report["timing"], **clock.seconds},
        }
        write_report(report, folder)
    if checkpoint is not None:
        checkpoint.path.unlink(missing_ok=True)  # its result is written
    return report


def _usual_text(config: OptimizeConfig) -> Amount:
    """Return how much text is read unless it is said: more where weights learn on it."""
    learns = config.distill is not None or (config.method in METHODS and METHODS[config.method].learns)
    return TO_IMITATE if learns else TO_CALIBRATE


def write_folder(
    result: SqueezeResult,
    folder: Path,
    config: OptimizeConfig,
    before: ModelSize,
    clock: Stopwatch,
    *,
    batches: Sequence[CalibrationBatch] = (),
    track: Track = silent,
) -> dict[str, Any]:
    """Fill the empty ``folder``: the model, its tokenizer and configuration, and the plan.

    ``before`` is the size of the model as it was loaded, ``clock`` what was timed so far. Returns what goes into
    ``report.json`` (see `write_report`), but for its ``frontier`` and what `examine_written` adds.
    """
    finished = finish(result.model, result.plan, config, batches, clock=clock, track=track)
    with clock.stage("save"):
        repository = repository_of(result.model.path)
        target = repository.place_in(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        files = save_model(finished.model.ir, target, external_data=config.external_data)
        copy_companions(repository, folder)
        after = measure_files(files, finished.model.ir)
    report = optimization_report(
        config=config,
        plan=finished.plan,
        spectra=result.spectra,
        errors=result.errors,
        before=before,
        after=after,
        fused=finished.fused,
        precision=finished.precision,
        timing={**clock.seconds, **result.timing},
        stages=result.stages,
        distillation=None if result.distillation is None else result.distillation.to_json(),
    )
    _write_json(folder / "plan.json", finished.plan.to_json())
    return report


def examine_written(
    folder: Path,
    dense: OnnxModel,
    survey: Survey,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch],
    *,
    clock: Stopwatch,
    track: Track = silent,
) -> dict[str, Any]:
    """Return what the report says of the model in ``folder`` as it ships, beside the ``dense`` one that was surveyed.

    That is its certificate and how its embeddings are made (both None without data), and its latency, if that was the objective.
    """
    found: dict[str, Any] = {"certificate": None, "embedding": None}
    path = find_repository(folder).model_path
    if calibration:
        with clock.stage("certificate"):
            written = load_model(path).ir
            certificate = certificate_of(
                dense, written, calibration, asked=config.asked, provider=config.provider, track=track
            )
        found["certificate"] = certificate.to_json()
        found["embedding"] = embedding_entry(known_head_of(dense, config.asked))
    if config.objective == "latency":
        with clock.stage("latency"):
            plan = read_plan(folder / "plan.json")
            found["latency"] = latency_report(dense, path, plan, survey.objective, config, calibration=calibration)
    return found


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``report`` into ``folder``, for machines and for people."""
    _write_json(folder / "report.json", report)
    (folder / "report.html").write_text(render_optimization(report), encoding="utf-8")


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
