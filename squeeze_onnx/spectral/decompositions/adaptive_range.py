"""Subspace iteration that watches its own error.

Between two looks at the error, the basis is filtered by a Chebyshev polynomial of AAᵀ: small on [0, cut], it grows fastest
of all polynomials beyond (Zhou, Saad, Tiago, Chelikowsky 2006, doi 10.1016/j.jcp.2006.03.017). The cut is the smallest
eigenvalue in the basis, so the first round, which has none yet, takes plain powers. A look is a Rayleigh–Ritz step: its
eigenvalues bound the optimal error from below (σ̂_{r+1} ≤ σ_{r+1}), and random probes give the error at hand.
"""

from dataclasses import dataclass, replace

import numpy as np

from squeeze_onnx.spectral.decompositions.error_bounds import NormBound, krylov_norm
from squeeze_onnx.spectral.decompositions.gram_operators import GramOperator, residual_of
from squeeze_onnx.spectral.decompositions.range_finder import orthonormal

DEGREE = 4
"""Products with AAᵀ between two looks at the error; a look costs about as much as three of them."""

PROBES = 8
"""Random directions in which the error is looked for."""

MOST_LOOKS = 10
"""Looks at the error before giving up. The error found last holds all the same."""


@dataclass(frozen=True)
class Ritz:
    """Rayleigh–Ritz approximations: eigenvalues of AAᵀ, descending, their orthonormal vectors, and `half` of these."""

    values: np.ndarray
    vectors: np.ndarray
    half: np.ndarray

    def leading(self, rank: int) -> "Ritz":
        """The leading ``rank`` of them."""
        return Ritz(self.values[:rank], self.vectors[:, :rank], self.half[:, :rank])


def adaptive_range(
    gram: GramOperator, start: np.ndarray, rank: int, tolerance: float, rng: np.random.Generator
) -> tuple[Ritz, NormBound]:
    """The leading ``rank`` Ritz vectors U of AAᵀ, and ‖A − UUᵀA‖₂: as far as probes see, ≤ (1 + tolerance) σ_{rank+1}(A).

    start: Gaussian, (small, more than rank); its dtype is that of all the work.
    """
    limits = np.finfo(start.dtype)
    vectors = gram.whole(gram.half(orthonormal(gram.whole(gram.half(start)))))
    for look in range(1, MOST_LOOKS + 1):
        ritz = _rayleigh_ritz(gram, vectors)
        leading = ritz.leading(rank)
        rounding = max(limits.eps * ritz.values[0], limits.tiny)
        allowed = np.sqrt(max((1 + tolerance) ** 2 * ritz.values[rank], rounding))
        probes = rng.standard_normal((start.shape[0], PROBES)).astype(start.dtype, copy=False)
        residual = residual_of(gram, leading.vectors)
        error = krylov_norm(residual, probes, enough=allowed if look < MOST_LOOKS else np.inf)
        if error.estimate <= allowed:
            break
        vectors = _chebyshev_filter(gram, ritz, float(max(ritz.values[-1], rounding)))
    # Which look was the last depends on what the probes showed, so any of them may have failed.
    return leading, replace(error, failure_probability=look * error.failure_probability)


def _rayleigh_ritz(gram: GramOperator, vectors: np.ndarray) -> Ritz:
    """Diagonalize AAᵀ on the span of ``vectors``."""
    basis = orthonormal(vectors)
    half = gram.half(basis)
    values, rotation = np.linalg.eigh(gram.inner(basis, half).astype(np.float64))
    rotation = rotation[:, ::-1].astype(basis.dtype)
    return Ritz(values[::-1], basis @ rotation, half @ rotation)


def _chebyshev_filter(gram: GramOperator, ritz: Ritz, cut: float) -> np.ndarray:
    """T_d(2AAᵀ/cut − I) on the Ritz vectors for d = ``DEGREE``, each column scaled to length 1.

    The three-term recurrence is linear in each column, so columns are scaled as they grow. That keeps the leading ones
    from overflowing, and the trailing ones from drowning, as each was nearly an eigenvector to begin with.
    """
    slope = 2 / cut
    previous, current = ritz.vectors, slope * gram.whole(ritz.half) - ritz.vectors
    for _ in range(DEGREE - 1):
        length = np.linalg.norm(current, axis=0)
        previous, current = previous / length, current / length
        previous, current = current, 2 * (slope * gram.whole(gram.half(current)) - current) - previous
    return np.asarray(current / np.linalg.norm(current, axis=0))
