"""No weighting: the truncated SVD of the weight itself (Eckart & Young 1936)."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposition, Factors


@dataclass(frozen=True)
class PlainMatrix:
    """The weight as it is."""

    matrix: np.ndarray
    extra_rank: int = 0

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """The balanced factors U√Σ and √ΣVᵀ."""
        return decomposition.factors(rank)


@dataclass(frozen=True)
class Identity:
    """Decompose the weight as it is."""

    def apply(self, weight: np.ndarray) -> PlainMatrix:
        """Return ``weight`` (in, out) in float64."""
        return PlainMatrix(weight.astype(np.float64, copy=False))
