"""The one-method protocol of a weighting, and what it returns."""

from typing import Protocol

import numpy as np

from squeeze_onnx.decompositions import Decomposition, Factors


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
