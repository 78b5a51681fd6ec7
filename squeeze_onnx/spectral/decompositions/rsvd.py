"""RSVD: one Gaussian sketch of the range, then a small exact decomposition.

Halko, Martinsson, Tropp (2011), "Finding structure with randomness", doi 10.1137/090771806, Algorithms 4.1 and 5.1.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike

from squeeze_onnx.spectral.decompositions.base import Decomposition, check_rank
from squeeze_onnx.spectral.decompositions.blocks import Matrix, SmallSide, multiply
from squeeze_onnx.spectral.decompositions.error_bounds import gaussian_norm
from squeeze_onnx.spectral.decompositions.range_finder import power_range, project, sharpen

PROBES = 10
"""Gaussian vectors for the error bound."""


@dataclass(frozen=True)
class Randomized:
    """The fastest and the least accurate: if the spectrum decays slowly, the error is far above the optimal one.

    oversampling: columns of the sketch beyond the rank.
    working_dtype: precision of the products with the matrix; all else is float64.
    seed: of the sketch and of the probes of the error bound.
    """

    oversampling: int = 10
    working_dtype: DTypeLike = np.float64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.oversampling < 0:
            raise ValueError(f"oversampling must not be negative. Got {self.oversampling}.")

    def decompose(self, matrix: Matrix, rank: int) -> Decomposition:
        """The leading ``rank`` triplets from two passes over ``matrix`` (in, out), and two more for the error."""
        check_rank(matrix, rank)
        rng = np.random.default_rng(self.seed)
        side = SmallSide(matrix)
        size = min(rank + self.oversampling, side.shape[0])
        found = project(side, power_range(side, size, 1, rng, self.working_dtype), rank)
        probes = rng.standard_normal((found.right_vectors.shape[1], PROBES)).astype(self.working_dtype, copy=False)
        kept = (found.left_vectors * found.singular_values) @ (found.right_vectors @ probes)
        return replace(sharpen(found, gaussian_norm(probes, multiply(matrix, probes) - kept)), found_by="rsvd")
