"""What is known of the rows that meet a weight: second moments of activations, frequencies of tokens."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

import numpy as np
import scipy.linalg

DAMPING = 1e-8
"""Added to the second moment's diagonal, relative to its largest entry: it keeps the factorization real, no more."""


def damping(moment: np.ndarray) -> float:
    """Return what keeps the factorization of ``moment`` (in, in) real, to be added to its diagonal."""
    return max(DAMPING * float(moment.diagonal().max()), np.finfo(np.float64).tiny)


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
    """Rows are activations X (tokens, in): ``gram`` is XᵀX (in, in), ``total`` their sum (in,); float64, unnormalised.

    Without a total the rows count as centred.
    """

    gram: np.ndarray
    tokens: int
    total: np.ndarray | None = None

    @property
    def diagonal(self) -> np.ndarray:
        """The mean square of each feature."""
        return np.diagonal(self.gram) / max(self.tokens, 1)

    @property
    def mean(self) -> np.ndarray:
        """The mean row, (in,)."""
        return np.zeros(len(self.gram)) if self.total is None else self.total / max(self.tokens, 1)

    @property
    def covariance(self) -> np.ndarray:
        """The second moment about the mean, (in, in), damped by `DAMPING` of the one about zero: what cancels leaves rounding."""
        moment = self.gram / max(self.tokens, 1)
        covariance: np.ndarray = moment - np.outer(self.mean, self.mean)
        covariance[np.diag_indices_from(covariance)] += damping(moment)
        return covariance

    def weigh(self, weight: np.ndarray) -> np.ndarray:
        """Multiply by the Cholesky root of the second moment; a singular one is damped, not refused."""
        weighted: np.ndarray = _root(self) @ weight
        return weighted

    def __add__(self, other: Self) -> "SecondMoment":
        """Second moment of both sets of rows together."""
        total = None if self.total is None or other.total is None else self.total + other.total
        return SecondMoment(self.gram + other.gram, self.tokens + other.tokens, total)


@lru_cache(maxsize=1)
def _root(moment: SecondMoment) -> np.ndarray:
    """Upper triangular L (in, in) with LᵀL = gram/tokens up to `DAMPING`.

    Query, key and value come one after the other and share it; to keep those of all sites would double what they take.
    """
    mean = moment.gram / max(moment.tokens, 1)
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
