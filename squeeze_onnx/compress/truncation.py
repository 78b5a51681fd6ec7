"""A weight and its truncation: alone, or side by side with others that share its left factor; and what was lost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposer, Decomposition, Factors, singular_values
from squeeze_onnx.spectral.rmt.spectrum import effective_rank, stable_rank
from squeeze_onnx.spectral.weightings import WeightedMatrix, Weighting

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
    """Return by what to multiply each weighted matrix so that its squared error is what it does to the model's output.

    The output error is sensitivity · ‖error‖²/‖matrix‖²; a matrix of zeros does none.
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
