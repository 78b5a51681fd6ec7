"""The stages in order: load → sites → spectra → plan → rewrite → save. The only module that sees them all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.allocators import Allocator, Independent, Uniform
from squeeze_onnx.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.calibration_source import CalibrationConfig, load_calibration
from squeeze_onnx.companions import copy_companions
from squeeze_onnx.config import DEFAULT_KEEP, AnalyzeConfig, OptimizeConfig
from squeeze_onnx.decompositions import Exact
from squeeze_onnx.eligibility import choose_eligible, is_excluded
from squeeze_onnx.errors import ModelError, OptionError
from squeeze_onnx.factoring import TruncationErrors, rewrite_sites
from squeeze_onnx.graph.model import OnnxModel, load_model, refuse_overwriting_input, save_model
from squeeze_onnx.graph.sites import MatMulSite, SkippedSite, find_sites
from squeeze_onnx.graph.size import measure_size
from squeeze_onnx.methods import METHODS, WeightingOf
from squeeze_onnx.plan import Plan
from squeeze_onnx.planning import make_plan, planned_sites_of
from squeeze_onnx.presets import PRESETS
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.report.html import render_optimization
from squeeze_onnx.report.json import analysis_report, optimization_report
from squeeze_onnx.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.selectors import TracyWidomEdge
from squeeze_onnx.sensitivity import PROBE_KEEP, probe_sensitivities
from squeeze_onnx.spectra import SiteSpectra, measure_spectra
from squeeze_onnx.staging import staged_folder
from squeeze_onnx.stopwatch import Stopwatch


@dataclass(frozen=True)
class SqueezeResult:
    """A squeezed model, the plan that was carried out, the spectra behind it, and what each rewritten site lost.

    ``timing`` is in seconds per stage; ``errors`` holds the rewritten sites only, by name.
    """

    model: OnnxModel
    plan: Plan
    spectra: tuple[SiteSpectra, ...]
    errors: Mapping[str, TruncationErrors]
    timing: Mapping[str, float]


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
            raise _nothing_to_do(model, found.skipped)
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
    track: Track = silent,
) -> SqueezeResult:
    """Squeeze ``model``, whose graph changes in place.

    ``calibration`` is what the model will read in use, without labels (see `load_calibration`); methods that look at
    activations need it. A ``plan`` is re-applied as it stands: its method and ranks count, not those of ``config``.

    Raises ModelError if no site is eligible, OptionError if the plan does not fit the model or the method lacks data.
    """
    config = config or OptimizeConfig()
    clock = Stopwatch()
    method = plan.method if plan else resolve_method(config, calibrated=bool(calibration))
    with clock.stage("sites"):
        found = find_sites(model.ir)
        sites, skipped = _choose_sites(model, found.sites, found.skipped, config, plan)
    with clock.stage("calibration"):
        weighting_of = _weighting_of(method, model, sites, calibration, track)
    with clock.stage("spectra"):
        spectra = measure_spectra(sites, weighting_of, config, track)
    if plan is None and METHODS[method].probes:
        with clock.stage("sensitivity"):
            spectra = probe_sensitivities(
                model.ir, spectra, weighting_of, Uniform(PROBE_KEEP), calibration, track=track
            )
    with clock.stage("plan"):
        plan = plan or make_plan(
            spectra,
            _allocator(config, method, sites, model),
            method=method,
            budget=_budget(config, method),
            above_break_even=config.above_break_even,
            skipped=skipped,
        )
    with clock.stage("rewrite"):
        errors = rewrite_sites(model.ir, sites, plan.sites, weighting_of, decomposer=Exact(), track=track)
    return SqueezeResult(model, plan, spectra, errors, clock.seconds)


def optimize(
    path: str | Path,
    out: str | Path,
    config: OptimizeConfig | None = None,
    *,
    calibration: CalibrationConfig | None = None,
    plan: Plan | None = None,
    force: bool = False,
    track: Track = silent,
) -> dict[str, Any]:
    """Squeeze the model at ``path`` into the folder ``out``, which appears whole or not at all.

    Returns the content of ``report.json``. Raises ModelError, DataError, OptionError or OutputError.
    """
    config = config or OptimizeConfig()
    out = Path(out)
    clock = Stopwatch()
    with clock.stage("load"):
        model = load_model(path)
        refuse_overwriting_input(model, out)
        before = measure_size(model)
        batches = load_calibration(model, calibration) if calibration else ()
    with staged_folder(out, force=force) as folder:
        result = squeeze(model, config, batches, plan=plan, track=track)
        with clock.stage("save"):
            save_model(model.ir, folder / "model.onnx", external_data=config.external_data)
            copy_companions(model.folder, folder)
            after = measure_size(load_model(folder / "model.onnx"))
        report = optimization_report(
            config=config,
            plan=result.plan,
            spectra=result.spectra,
            errors=result.errors,
            before=before,
            after=after,
            timing={**clock.seconds, **result.timing},
        )
        _write_json(folder / "plan.json", result.plan.to_json())
        _write_json(folder / "report.json", report)
        (folder / "report.html").write_text(render_optimization(report), encoding="utf-8")
    return report


def resolve_method(config: OptimizeConfig, *, calibrated: bool) -> str:
    """Return the method that ``auto`` stands for: the best that the given data allows."""
    if config.method != "auto":
        return config.method
    if config.preset:
        return "squeeze"
    return "whiten" if calibrated else "svd"


def _weighting_of(
    method: str,
    model: OnnxModel,
    sites: Sequence[MatMulSite],
    calibration: Sequence[CalibrationBatch],
    track: Track,
) -> WeightingOf:
    """Return how ``method`` sees each site; runs the model on ``calibration`` if it looks at activations."""
    if not METHODS[method].needs_calibration:
        return METHODS[method].weighting_of({})
    if not calibration:
        raise OptionError(
            f"--method {method} looks at activations; give --calibration a text file, glue:TASK (with --data) or an .npz"
        )
    return METHODS[method].weighting_of(collect_moments(model.ir, sites, calibration, track=track))


def _choose_sites(
    model: OnnxModel,
    sites: Sequence[MatMulSite],
    skipped: tuple[SkippedSite, ...],
    config: OptimizeConfig,
    plan: Plan | None,
) -> tuple[tuple[MatMulSite, ...], tuple[SkippedSite, ...]]:
    """Return the sites to work on and all others with the reason they are left alone."""
    if plan is not None:
        if plan.method not in METHODS:
            raise OptionError(f"the plan's method {plan.method!r} is unknown; known methods are {', '.join(METHODS)}")
        return planned_sites_of(plan, sites), skipped
    roles = PRESETS[config.preset]().roles if config.preset else frozenset()
    eligibility = choose_eligible(sites, config.include, config.exclude, only=roles)
    skipped += eligibility.left_out
    if not eligibility.sites:
        raise _nothing_to_do(model, skipped)
    return eligibility.sites, skipped


def _allocator(config: OptimizeConfig, method: str, sites: Sequence[MatMulSite], model: OnnxModel) -> Allocator:
    if config.preset:
        return PRESETS[config.preset]().allocator(sites, measure_size(model).bytes)
    if config.keep is None and method == "squeeze":
        return Independent(TracyWidomEdge(config.probability, NOISE_ESTIMATORS[config.noise]()))
    return METHODS[method].allocator(config.keep or DEFAULT_KEEP)


def _budget(config: OptimizeConfig, method: str) -> dict[str, Any]:
    """What was asked for, as the plan records it."""
    if config.preset:
        return {"preset": config.preset}
    if config.keep is None and method == "squeeze":
        return {"probability": config.probability, "noise": config.noise}
    return {"keep": config.keep or DEFAULT_KEEP}


def _nothing_to_do(model: OnnxModel, skipped: Sequence[SkippedSite]) -> ModelError:
    why = f"; {skipped[0].name}: {skipped[0].reason}" if skipped else " at all"
    return ModelError(f"{model.path} has no eligible MatMul, Gemm or Gather with a constant weight{why}")


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
