"""The one-method protocol of a weighting, and what it returns."""

from typing import Protocol

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposition, Factors


class WeightedMatrix(Protocol):
    """A weight seen through a weighting."""

    @property
    def matrix(self) -> np.ndarray:
        """What is decomposed: float64, the shape (in, out) of the weight."""
        ...

    @property
    def extra_rank(self) -> int:
        """Rank that the way back adds to the truncation (the mean of a standardized weight is one)."""
        ...

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """Factors of the *weight*, of rank ``rank + extra_rank``, from the leading ``rank`` components of `matrix`."""
        ...


class Weighting(Protocol):
    """A change of variables for the truncation."""

    def apply(self, weight: np.ndarray) -> WeightedMatrix:
        """See ``weight`` (in, out) through this weighting."""
        ...


def balanced(left: np.ndarray, right: np.ndarray) -> Factors:
    """Return ``left`` (in, r) and ``right`` (r, out) as factors of the same product, each column as long as the row it meets."""
    lengths = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
    # Where a component is empty on a side nothing can be balanced.
    balance = np.sqrt(np.divide(*lengths, out=np.ones(len(right)), where=lengths[0] * lengths[1] > 0))
    return Factors(left / balance, balance[:, None] * right)
