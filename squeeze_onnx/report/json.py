"""report.json: everything one run of `optimize` or `analyze` found, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.eligibility import Eligibility
from squeeze_onnx.compress.lowering import Finished
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.data.repository import repository_of
from squeeze_onnx.graph.io.size import ModelSize
from squeeze_onnx.spectral.rmt.histogram import singular_value_histogram
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.environment import created_now, environment
from squeeze_onnx.support.given_names import given_name

OPTIMIZATION_FORMAT = "squeeze-onnx/report/1"
ANALYSIS_FORMAT = "squeeze-onnx/analysis/1"

_CURVE_POINTS = 33
_DIGITS = 5
"""Of what is there to be drawn."""


@dataclass(frozen=True)
class Sizes:
    """The size of a model as it was loaded, and of what was written."""

    before: ModelSize
    after: ModelSize


def optimization_report(
    config: AnalyzeConfig, result: SqueezeResult, finished: Finished, sizes: Sizes, timing: Mapping[str, float]
) -> dict[str, Any]:
    """Put together ``report.json``. Sizes in bytes, timing in seconds, sites in graph order."""
    plan, before, after = finished.plan, sizes.before, sizes.after
    return {
        "format": OPTIMIZATION_FORMAT,
        "created": created_now(),
        "model": model_entry(result.model.path),
        "method": plan.method,
        "config": config.to_json(),
        "settings": _settings(config, plan, finished.precision),
        "budget": dict(plan.budget),
        "size": {
            "baseline_bytes": before.bytes,
            "optimized_bytes": after.bytes,
            "baseline_parameters": before.parameters,
            "optimized_parameters": after.parameters,
            "eligible_parameters": plan.eligible_parameters,
            "kept_eligible_parameters": plan.kept_parameters,
        },
        "sites": [
            _optimized_site(planned, measured, result.errors.get(planned.name))
            for planned, measured in zip(plan.sites, result.spectra, strict=True)
        ],
        "skipped": [dict(site) for site in plan.skipped],
        "precision": dict(finished.precision),
        "fused": None if finished.fused is None else finished.fused.to_json(),
        "tokens": None if result.tokens is None else result.tokens.to_json(),
        "stages": [stage.to_json() for stage in result.stages],
        "distillation": None if result.distillation is None else result.distillation.to_json(),
        "timing": dict(timing),
        "files": {"baseline": before.sha256, "optimized": after.sha256},
        "environment": environment(),
    }


def model_entry(path: Path) -> dict[str, str]:
    """Say which model a report is about: its file, and the name that people know it by.

    Where they gave no path, of a model in memory or from the hub, both are that name.
    """
    name = given_name(path)
    root = repository_of(path).root.absolute()
    return {"name": name or root.name, "path": name or str(path)}


def _settings(config: AnalyzeConfig, plan: Plan, precision: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config`` as it was carried out: what was left open, or to a plan, has the value that it came to."""
    carried_out = {
        "method": plan.method,
        "keep": plan.budget.get("keep"),
        "refit": plan.refit,
        "precision": precision["name"],
        "target_cpu": plan.precision.target_cpu,
    }
    asked = config.to_json()
    return asked | {key: value for key, value in carried_out.items() if key in asked}


def analysis_report(
    *,
    model: Path,
    config: AnalyzeConfig,
    spectra: Sequence[SiteSpectra],
    eligibility: Eligibility,
    size: ModelSize,
    timing: Mapping[str, float],
) -> dict[str, Any]:
    """Put together the JSON of `analyze`; ``eligibility`` also names what is no site at all."""
    eligible = {site.name for site in eligibility.sites}
    return {
        "format": ANALYSIS_FORMAT,
        "created": created_now(),
        "model": model_entry(model),
        "config": config.to_json(),
        "size": {
            "baseline_bytes": size.bytes,
            "baseline_parameters": size.parameters,
            "eligible_parameters": sum(
                measured.site.parameters for measured in spectra if measured.site.name in eligible
            ),
        },
        "sites": [
            {
                "name": measured.site.name,
                "layer": measured.site.layer,
                "role": str(measured.site.role),
                "shape": [measured.site.in_features, measured.site.out_features],
                "eligible": measured.site.name in eligible,
                "uses": len(measured.site.nodes),
                "break_even_rank": measured.site.break_even_rank,
                "spectrum": spectrum_entry(measured),
            }
            for measured in spectra
        ],
        "skipped": [{"name": site.name, "reason": site.reason} for site in eligibility.left_out],
        "timing": dict(timing),
        "files": {"baseline": size.sha256},
        "environment": environment(),
    }


def spectrum_entry(measured: SiteSpectra) -> dict[str, Any]:
    """The spectrum of one standardized weight; edges and σ in units of its standardized entries."""
    summary = measured.summary
    return {
        "aspect_ratio": summary.aspect_ratio,
        "noise_sigma": summary.noise_sigma,
        "mp_edge": summary.mp_edge,
        "tw_edge": summary.tw_edge,
        "signal_rank": summary.signal_rank,
        "effective_rank": summary.effective_rank,
        "stable_rank": summary.stable_rank,
        "ks_distance": summary.ks_distance,
        "ks_p_value": summary.ks_p_value,
        "by_noise_estimator": {
            name: {"noise_sigma": found.noise_sigma, "signal_rank": found.signal_rank}
            for name, found in summary.by_estimator.items()
        },
        "histogram": _histogram_entry(measured),
    }


def _histogram_entry(measured: SiteSpectra) -> dict[str, Any]:
    histogram = singular_value_histogram(measured.standardized, measured.summary.noise_sigma)
    return {
        "bin_width": histogram.bin_width,
        "counts": histogram.counts.tolist(),
        "expected": _for_drawing(histogram.expected),
        "beyond": histogram.beyond,
        "largest": histogram.largest,
    }


def _optimized_site(planned: PlannedSite, measured: SiteSpectra, errors: TruncationErrors | None) -> dict[str, Any]:
    spectrum = spectrum_entry(measured)
    # A site left dense loses nothing, and its ranks stay what they were.
    lost = errors or TruncationErrors(0.0, 0.0, 1.0, 1.0, spectrum["effective_rank"], spectrum["stable_rank"])
    return {
        "name": planned.name,
        "layer": planned.layer,
        "role": planned.role,
        "shape": list(planned.shape),
        "rank": None,
        "shares_left": None,
        "kept_shape": None,
        "kept_parameters": planned.kept_parameters,
        "treatment": planned.treatment,
        "reason": planned.reason,
        "break_even_rank": planned.break_even_rank,
        "spectrum": spectrum
        | {
            "energy_kept": lost.energy_kept,
            "effective_rank_after": lost.effective_rank_after,
            "stable_rank_after": lost.stable_rank_after,
            "cut": _cut(planned, measured),
            "energy_curve": _energy_curve(measured.candidate.spectrum),
        },
        "weighted_error": lost.weighted_error,
        "relative_error": lost.relative_error,
        "weight_cosine": lost.weight_cosine,
        "decomposition": None if lost.decomposition is None else asdict(lost.decomposition),
    } | planned.form.reported()


def _cut(planned: PlannedSite, measured: SiteSpectra) -> float | None:
    """Return the standardized singular value above which there are as many as components stay; None if no rank is cut."""
    if planned.rank is None:
        return None
    components = planned.rank - measured.candidate.extra_rank
    # Weights side by side, which share a left factor, may keep more components than each of them has.
    return measured.standardized.threshold_for(min(max(components, 1), measured.standardized.smaller_dimension))


def _energy_curve(spectrum: Spectrum) -> dict[str, list[float]]:
    """Return the part of the weight in its leading components, as the method sees it, at ranks from 0 to full."""
    ranks = np.unique(np.linspace(0, spectrum.smaller_dimension, _CURVE_POINTS).round().astype(np.int64))
    return {"ranks": ranks.tolist(), "energy": _for_drawing(spectrum.cumulative_energy[ranks])}


def _for_drawing(values: np.ndarray) -> list[float]:
    """Return ``values`` with the digits that a drawing shows."""
    return [float(f"{value:.{_DIGITS}g}") for value in values]
