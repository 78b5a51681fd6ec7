"""The rewrite stage: truncate each planned site, put the result into the graph, and measure what was lost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.decompositions import Decomposer, Factors
from squeeze_onnx.graph.rewrite import Rewriter
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.methods import WeightingOf
from squeeze_onnx.plan import PlannedSite
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.rmt.spectrum import effective_rank, stable_rank
from squeeze_onnx.weightings import Weighting
from squeeze_onnx.weights import read_weight


@dataclass(frozen=True)
class TruncationErrors:
    """What truncation took from one weight W, with Ŵ in its place.

    ``weighted_error`` is ‖·‖_F of the dropped part over the whole, as the method's weighting sees them; ``relative_error`` is
    ‖W − Ŵ‖_F/‖W‖_F; ``weight_cosine`` is ⟨W, Ŵ⟩/(‖W‖‖Ŵ‖); ranks "after" are those of the truncated spectrum.
    """

    weighted_error: float
    relative_error: float
    weight_cosine: float
    energy_kept: float
    effective_rank_after: float
    stable_rank_after: float


def rewrite_sites(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    plan: Sequence[PlannedSite],
    weighting_of: WeightingOf,
    *,
    decomposer: Decomposer,
    track: Track = silent,
) -> dict[str, TruncationErrors]:
    """Carry out ``plan`` (one entry per site, same order) on ``model``, which changes in place.

    Returns the errors of the sites that changed, by name.
    """
    todo = [(site, planned.rank, planned.treatment) for site, planned in zip(sites, plan, strict=True)]
    errors: dict[str, TruncationErrors] = {}
    rewriter = Rewriter(model)
    for site, rank, treatment in track([job for job in todo if job[1] is not None], "Rewriting"):
        assert rank is not None
        weight = read_weight(site)
        factors, errors[site.name] = truncate(weight, rank, weighting_of(site), decomposer)
        if treatment == "factored":
            rewriter.factor(site, factors.left, factors.right)
        else:
            rewriter.replace(site, factors.product())
    return errors


def truncate(
    weight: np.ndarray, rank: int, weighting: Weighting, decomposer: Decomposer
) -> tuple[Factors, TruncationErrors]:
    """Factor ``weight`` (in, out) at total ``rank`` ≥ 1 (what undoing the weighting adds included)."""
    weighted = weighting.apply(weight)
    components = max(rank - weighted.extra_rank, 0)
    decomposition = decomposer.decompose(weighted.matrix, max(components, 1))
    factors = weighted.factors(decomposition, components)
    kept, rest = np.split(decomposition.singular_values, [components])
    total = float(np.linalg.norm(weighted.matrix)) ** 2
    dropped = decomposition.frobenius_residual**2 + float(rest @ rest)
    return factors, replacement_errors(weight, factors.product(), dropped, total, kept)


def replacement_errors(
    weight: np.ndarray, replacement: np.ndarray, dropped: float, total: float, spectrum: np.ndarray
) -> TruncationErrors:
    """Put together the errors of ``replacement`` in the place of ``weight``.

    ``dropped`` of ``total`` is the squared norm that was lost in the weighting, ``spectrum`` what is left of the spectrum.
    """
    dropped = min(dropped, total)  # rounding aside
    weight_norm, replacement_norm = float(np.linalg.norm(weight)), float(np.linalg.norm(replacement))
    return TruncationErrors(
        weighted_error=_ratio(np.sqrt(dropped), np.sqrt(total)),
        relative_error=_ratio(float(np.linalg.norm(weight - replacement)), weight_norm),
        weight_cosine=_ratio(float(np.vdot(weight, replacement)), weight_norm * replacement_norm, of_zero=1.0),
        energy_kept=_ratio(total - dropped, total, of_zero=1.0),
        effective_rank_after=effective_rank(spectrum),
        stable_rank_after=stable_rank(spectrum),
    )


def _ratio(part: float, whole: float, *, of_zero: float = 0.0) -> float:
    """Part over whole; a weight of zeros loses nothing and equals its truncation."""
    return float(part / whole) if whole > 0 else of_zero
