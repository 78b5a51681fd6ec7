"""The rewrite stage: truncate each planned site, put the result into the graph, and measure what was lost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self, TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.methods import WeightingOf
from squeeze_onnx.compress.plan import PlannedSite
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Decomposer, Decomposition, Factors, singular_values
from squeeze_onnx.spectral.rmt.spectrum import effective_rank, stable_rank
from squeeze_onnx.spectral.weightings import WeightedMatrix, Weighting
from squeeze_onnx.support.progress import Track, silent

Job = TypeVar("Job")

_LEAST_SCALE = 1e-6
"""Of the largest one: what a weight is scaled by that shares a left factor."""


@dataclass(frozen=True)
class DecompositionError:
    """Who found the components of a truncated weight, ``exact``, ``rsvd`` or ``rsi``, and how good they are, measured afterwards.

    ``spectral_error_bound`` bounds ‖M − M_r‖₂ of the matrix M that the method's weighting makes, ``relative_error_bound`` is that
    over ‖M‖₂; each is too small with ``failure_probability`` at most.
    """

    found_by: str
    spectral_error_bound: float
    relative_error_bound: float
    failure_probability: float

    @classmethod
    def of(cls, decomposition: Decomposition) -> Self:
        """Read it off ``decomposition``."""
        largest = float(decomposition.singular_values[0])
        bound = decomposition.spectral_error_bound
        return cls(decomposition.found_by, bound, _ratio(bound, largest), decomposition.failure_probability)


@dataclass(frozen=True)
class TruncationErrors:
    """What truncation took from one weight W, with Ŵ in its place.

    ``weighted_error`` is ‖·‖_F of the dropped part over the whole, as the method's weighting sees them; ``relative_error`` is
    ‖W − Ŵ‖_F/‖W‖_F; ``weight_cosine`` is ⟨W, Ŵ⟩/(‖W‖‖Ŵ‖); ranks "after" are those of the truncated spectrum. A weight that was
    sliced has no ``decomposition``.
    """

    weighted_error: float
    relative_error: float
    weight_cosine: float
    energy_kept: float
    effective_rank_after: float
    stable_rank_after: float
    decomposition: DecompositionError | None = None


@dataclass(frozen=True)
class _Group:
    """Sites that share a left factor, or one site that does not, what is planned for each, and how they are seen."""

    sites: tuple[MatMulSite, ...]
    planned: tuple[PlannedSite, ...]
    weighting: Weighting


@dataclass(frozen=True, eq=False)
class Truncating:
    """How weights are truncated: the weighting through which each is seen, who decomposes it, and where what is new goes."""

    weighting_of: WeightingOf
    decomposer: Decomposer
    store: Store = in_memory
    track: Track = silent


def rewrite_sites(
    model: ir.Model, sites: Sequence[MatMulSite], plan: Sequence[PlannedSite], truncating: Truncating
) -> dict[str, TruncationErrors]:
    """Carry out ``plan`` (one entry per site, same order) on ``model``, which changes in place.

    Returns the errors of the sites that changed, by name.
    """
    todo = [job for job in zip(sites, plan, strict=True) if job[1].rank is not None]
    groups = [
        _Group(
            tuple(site for site, _ in jobs), tuple(planned for _, planned in jobs), truncating.weighting_of(jobs[0][0])
        )
        for jobs in by_left(todo, lambda job: job[1])
    ]
    errors: dict[str, TruncationErrors] = {}
    rewriter = Rewriter(model, truncating.store)
    truncate_each = partial(_truncate_group, decomposer=truncating.decomposer)
    truncated = truncating.track.map(truncate_each, groups, "Rewriting")
    for group, (factors, lost) in zip(groups, truncated, strict=True):
        put_factors(rewriter, group.sites, group.planned, factors)
        errors |= {site.name: each for site, each in zip(group.sites, lost, strict=True)}
    return errors


def _truncate_group(group: _Group, decomposer: Decomposer) -> tuple[list[Factors], list[TruncationErrors]]:
    weights = [read_weight(site) for site in group.sites]
    factors, errors = truncate_planned(weights, group.planned, group.weighting, decomposer)
    if group.planned[0].treatment == "factored" and group.sites[0].weight.dtype == ir.DataType.FLOAT:
        factors = [_as_float32(each) for each in factors]  # as they will be written: half as much to bring back
    return factors, errors


def _as_float32(factors: Factors) -> Factors:
    with np.errstate(over="ignore"):  # Rewriter refuses what is not finite
        return Factors(factors.left.astype(np.float32), factors.right.astype(np.float32))


def by_left(jobs: Iterable[Job], planned: Callable[[Job], PlannedSite]) -> list[list[Job]]:
    """Put together the ``jobs`` whose sites share a left factor, given what is ``planned`` for each."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(planned(job).left, []).append(job)
    return list(groups.values())


def truncate_planned(
    weights: Sequence[np.ndarray], planned: Sequence[PlannedSite], weighting: Weighting, decomposer: Decomposer
) -> tuple[list[Factors], list[TruncationErrors]]:
    """Truncate the ``weights`` of sites that share a left factor, or the one weight of a site that does not."""
    rank = planned[0].rank
    assert rank is not None, "dense sites are not truncated"
    if planned[0].shares_left is None:
        factors, errors = truncate(weights[0], rank, weighting, decomposer)
        return [factors], [errors]
    return truncate_jointly(weights, rank, weighting, [each.sensitivity for each in planned], decomposer)


def put_factors(
    rewriter: Rewriter, sites: Sequence[MatMulSite], planned: Sequence[PlannedSite], factors: Sequence[Factors]
) -> None:
    """Put ``factors``, of one left, in the place of the weights of ``sites``, or their product if it is planned as denoised."""
    if planned[0].treatment == "factored":
        rewriter.factor_jointly(sites, factors[0].left, [each.right for each in factors])
    else:
        rewriter.replace(sites[0], factors[0].product())


def truncate(
    weight: np.ndarray, rank: int, weighting: Weighting, decomposer: Decomposer
) -> tuple[Factors, TruncationErrors]:
    """Factor ``weight`` (in, out) at total ``rank`` ≥ 1 (what undoing the weighting adds included)."""
    return truncate_weighted(weight, weighting.apply(weight), rank, decomposer)


def truncate_weighted(
    weight: np.ndarray, weighted: WeightedMatrix, rank: int, decomposer: Decomposer
) -> tuple[Factors, TruncationErrors]:
    """Factor ``weight`` (in, out), seen as ``weighted``, as `truncate` does."""
    components = max(rank - weighted.extra_rank, 0)
    decomposition = decomposer.decompose(weighted.matrix, max(components, 1))
    factors = weighted.factors(decomposition, components)
    kept, rest = np.split(decomposition.singular_values, [components])
    total = float(np.linalg.norm(weighted.matrix)) ** 2
    dropped = decomposition.frobenius_residual**2 + float(rest @ rest)
    errors = replacement_errors(weight, factors.product(), dropped, total, kept)
    return factors, replace(errors, decomposition=DecompositionError.of(decomposition))


def truncate_jointly(
    weights: Sequence[np.ndarray],
    rank: int,
    weighting: Weighting,
    sensitivities: Sequence[float],
    decomposer: Decomposer,
) -> tuple[list[Factors], list[TruncationErrors]]:
    """Factor ``weights`` (in, out each), which read the same value, as one left (in, ``rank``) and a right for each.

    Side by side they are one weight (in, Σ out). Each is scaled first so that a squared error counts as its ``sensitivity`` times
    the relative squared error of its own output: truncation then loses least in their sum (Eckart & Young 1936).
    """
    scales = loss_scales([weighting.apply(weight).matrix for weight in weights], sensitivities)
    # What does not count gets what the others leave; it needs a scale to come back from.
    scales = np.maximum(scales / scales.max(), _LEAST_SCALE) if scales.any() else np.ones_like(scales)
    weighted = weighting.apply(np.hstack([scale * weight for scale, weight in zip(scales, weights, strict=True)]))
    components = max(rank - weighted.extra_rank, 0)
    decomposition = decomposer.decompose(weighted.matrix, max(components, 1))
    together = weighted.factors(decomposition, components)
    kept = decomposition.factors(components).product()
    ends = np.cumsum([weight.shape[1] for weight in weights])[:-1]
    rights, wholes, parts = (np.split(matrix, ends, axis=1) for matrix in (together.right, weighted.matrix, kept))
    factors = [Factors(together.left, right / scale) for right, scale in zip(rights, scales, strict=True)]
    errors = [
        replace(
            replacement_errors(
                weight,
                each.product(),
                float(np.square(whole - part).sum()),
                float(np.square(whole).sum()),
                singular_values(part)[:components],
            ),
            decomposition=DecompositionError.of(decomposition),
        )
        for weight, each, whole, part in zip(weights, factors, wholes, parts, strict=True)
    ]
    return factors, errors


def loss_scales(matrices: Sequence[np.ndarray], sensitivities: Sequence[float]) -> np.ndarray:
    """Return by what to multiply each weighted matrix so that its squared error is its damage to the model's output.

    The damage is sensitivity · ‖error‖²/‖matrix‖²; a matrix of zeros does none.
    """
    norms = np.array([np.linalg.norm(matrix) for matrix in matrices])
    scales: np.ndarray = np.divide(np.sqrt(sensitivities), norms, out=np.zeros_like(norms), where=norms > 0)
    return scales


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
