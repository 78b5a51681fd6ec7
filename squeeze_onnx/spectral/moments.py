"""What is known of the rows that meet a weight: second moments of activations, frequencies of tokens."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

import numpy as np
import scipy.linalg

from squeeze_onnx.spectral.triangular import upper_times

DAMPING = 1e-5
"""Added to the second moment's diagonal, relative to it: it keeps the factorization real, no more.

Features of any scale are damped alike. Products in float32, and moments kept in it, move no eigenvalue of the correlations of
3072 features by more than a fifth of that.
"""

_FLOOR = 1e-16
"""Of features that are nothing, relative to the largest entry."""


def damping(moment: np.ndarray) -> np.ndarray:
    """Return what keeps the factorization of ``moment`` (in, in) real, to be added to its diagonal, (in,)."""
    diagonal = moment.diagonal()
    return np.maximum(DAMPING * diagonal, max(_FLOOR * float(diagonal.max()), np.finfo(np.float64).tiny))


class Moments(Protocol):
    """The second moment M (in, in) of the rows that meet a weight W (in, out), in whatever form is cheapest."""

    @property
    def diagonal(self) -> np.ndarray:
        """The mean square of each input feature, (in,)."""
        ...

    def weigh(self, weight: np.ndarray) -> np.ndarray:
        """Return L W (in, out) for some L with LᵀL = M."""
        ...


@dataclass(frozen=True, eq=False)
class SecondMoment:
    """Rows are activations X (tokens, in): ``gram`` is XᵀX (in, in), ``total`` their sum (in,); unnormalised.

    The gram may be kept in float32, what is computed of it is in float64. Without a total the rows count as centred.
    """

    gram: np.ndarray
    tokens: int
    total: np.ndarray | None = None

    @property
    def diagonal(self) -> np.ndarray:
        """The mean square of each feature."""
        return np.diagonal(self.gram).astype(np.float64) / max(self.tokens, 1)

    @property
    def mean_product(self) -> np.ndarray:
        """The second moment itself, E[x xᵀ], (in, in)."""
        found: np.ndarray = np.divide(self.gram, max(self.tokens, 1), dtype=np.float64)
        return found

    @property
    def mean(self) -> np.ndarray:
        """The mean row, (in,)."""
        return np.zeros(len(self.gram)) if self.total is None else self.total / max(self.tokens, 1)

    @property
    def covariance(self) -> np.ndarray:
        """The second moment about the mean, (in, in), damped by `DAMPING` of the one about zero: what cancels leaves rounding."""
        moment = self.mean_product
        covariance: np.ndarray = moment - np.outer(self.mean, self.mean)
        covariance[np.diag_indices_from(covariance)] += damping(moment)
        return covariance

    def weigh(self, weight: np.ndarray) -> np.ndarray:
        """Multiply by the Cholesky root of the second moment; a singular one is damped, not refused."""
        return upper_times(_root(self), weight)

    def __add__(self, other: Self) -> "SecondMoment":
        """Second moment of both sets of rows together."""
        total = None if self.total is None or other.total is None else self.total + other.total
        return SecondMoment(np.add(self.gram, other.gram, dtype=np.float64), self.tokens + other.tokens, total)


@lru_cache(maxsize=1)
def _root(moment: SecondMoment) -> np.ndarray:
    """Upper triangular L (in, in) with LᵀL = gram/tokens up to `DAMPING`.

    Query, key and value come one after the other and share it; to keep those of all sites would double what they take.
    """
    mean = moment.mean_product
    mean[np.diag_indices_from(mean)] += damping(mean)
    # It is symmetric: transposed it is in the order of LAPACK, which then works in place.
    root: np.ndarray = scipy.linalg.cholesky(mean.T, overwrite_a=True, check_finite=False)
    return root


@dataclass(frozen=True)
class TokenFrequency:
    """Rows are one-hot: ``counts`` (in,) says how often a Gather looked up each row of its table.

    A row never looked up counts as seen once, so that rare tokens lose precision but not their meaning (Laplace).
    """

    counts: np.ndarray

    @property
    def diagonal(self) -> np.ndarray:
        """The frequency of each row."""
        smoothed = self.counts + 1.0
        frequency: np.ndarray = smoothed / smoothed.sum()
        return frequency

    def weigh(self, weight: np.ndarray) -> np.ndarray:
        """Scale each row by the root of its frequency."""
        weighted: np.ndarray = np.sqrt(self.diagonal)[:, None] * weight
        return weighted

    def __add__(self, other: Self) -> "TokenFrequency":
        """Frequencies of both sets of tokens together."""
        return TokenFrequency(self.counts + other.counts)
