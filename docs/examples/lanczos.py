"""Lanczos: the leading singular triplets by ARPACK, which only multiplies by the matrix; cheap where few are wanted.

Lehoucq, Sorensen, Yang 1998, "ARPACK users' guide", doi 10.1137/1.9780898719628.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import svds

from squeeze_onnx.spectral.decompositions import Decomposition, Exact
from squeeze_onnx.spectral.decompositions.base import check_rank
from squeeze_onnx.spectral.decompositions.blocks import Matrix, dense
from squeeze_onnx.spectral.decompositions.error_bounds import frobenius_residual


@dataclass(frozen=True)
class Lanczos:
    """``seed`` draws the vector that the iteration starts from."""

    seed: int = 0

    def decompose(self, matrix: Matrix, rank: int) -> Decomposition:
        """Return the leading ``rank`` triplets of ``matrix`` (in, out); ARPACK leaves the last one to `Exact`."""
        check_rank(matrix, rank)
        whole = dense(matrix)
        if rank == min(whole.shape):
            return Exact().decompose(matrix, rank)
        start = np.random.default_rng(self.seed).standard_normal(min(whole.shape))
        left, values, right = svds(whole, rank, v0=start)
        order = np.argsort(-values)
        left, values, right = left[:, order], values[order], right[order]
        residual = frobenius_residual(whole, left, values, right)
        return Decomposition(left, values, right, residual, residual, 0.0, found_by="lanczos")
