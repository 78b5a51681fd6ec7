"""report.json: everything one run of `optimize` or `analyze` found, as plain values."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from squeeze_onnx.config import AnalyzeConfig
from squeeze_onnx.factoring import TruncationErrors
from squeeze_onnx.graph.fusion import FusionCounts
from squeeze_onnx.graph.sites import SkippedSite
from squeeze_onnx.graph.size import ModelSize
from squeeze_onnx.learning.soco.stages import StageRecord
from squeeze_onnx.plan import Plan, PlannedSite
from squeeze_onnx.report.environment import environment
from squeeze_onnx.spectra import SiteSpectra

OPTIMIZATION_FORMAT = "squeeze-onnx/report/1"
ANALYSIS_FORMAT = "squeeze-onnx/analysis/1"


def optimization_report(
    *,
    config: AnalyzeConfig,
    plan: Plan,
    spectra: Sequence[SiteSpectra],
    errors: Mapping[str, TruncationErrors],
    before: ModelSize,
    after: ModelSize,
    timing: Mapping[str, float],
    precision: Mapping[str, Any],
    fused: FusionCounts | None = None,
    stages: Sequence[StageRecord] = (),
    distillation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put together ``report.json``. Sizes in bytes, timing in seconds, sites in graph order.

    ``stages`` are those of a method that learns. ``fused`` is None if the graph was not fused.
    """
    return {
        "format": OPTIMIZATION_FORMAT,
        "method": plan.method,
        "config": config.to_json(),
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
            _optimized_site(planned, measured, errors.get(planned.name))
            for planned, measured in zip(plan.sites, spectra, strict=True)
        ],
        "skipped": [dict(site) for site in plan.skipped],
        "precision": dict(precision),
        "fused": None if fused is None else fused.to_json(),
        "stages": [stage.to_json() for stage in stages],
        "distillation": distillation,
        "timing": dict(timing),
        "files": {"baseline": before.sha256, "optimized": after.sha256},
        "environment": environment(),
    }


def analysis_report(
    *,
    config: AnalyzeConfig,
    spectra: Sequence[SiteSpectra],
    eligible: Collection[str],
    skipped: Sequence[SkippedSite],
    size: ModelSize,
    timing: Mapping[str, float],
) -> dict[str, Any]:
    """Put together the JSON of `analyze`."""
    return {
        "format": ANALYSIS_FORMAT,
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
        "skipped": [{"name": site.name, "reason": site.reason} for site in skipped],
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
        "rank": planned.rank if planned.treatment == "factored" else None,
        "shares_left": planned.shares_left,
        "kept_shape": None if planned.kept_shape is None else list(planned.kept_shape),
        "kept_parameters": planned.kept_parameters,
        "treatment": planned.treatment,
        "reason": planned.reason,
        "break_even_rank": planned.break_even_rank,
        "spectrum": spectrum
        | {
            "energy_kept": lost.energy_kept,
            "effective_rank_after": lost.effective_rank_after,
            "stable_rank_after": lost.stable_rank_after,
        },
        "weighted_error": lost.weighted_error,
        "relative_error": lost.relative_error,
        "weight_cosine": lost.weight_cosine,
    }
