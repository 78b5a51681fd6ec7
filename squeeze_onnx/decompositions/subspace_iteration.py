"""RSI: randomized subspace iteration, with a given number of power iterations or as many as the error asks for.

Pourkamali-Anaraki (2026), "Low-rank compression of pretrained models via randomized subspace iteration", arXiv 2604.02659:
the range of (WWᵀ)^(q−1) WΩ instead of that of WΩ raises the separation of the leading singular values from the rest to the
power 2q − 1; q = 1 is RSVD.

The adaptive form draws more out of a product with WWᵀ. Between two looks at the error, the powers of WWᵀ become a
Chebyshev polynomial that is small on [0, cut] and grows fastest beyond (Zhou, Saad, Tiago, Chelikowsky 2006,
doi 10.1016/j.jcp.2006.03.017), the cut being the smallest eigenvalue in the basis. A look is a Rayleigh–Ritz step, which
bounds the optimal error from below (σ̂_{r+1} ≤ σ_{r+1}), and random probes, which give the error at hand.

Where WWᵀ is small against what the iterations would cost, it is formed once. As everywhere with a Gram matrix, singular
values under √ε σ₁ (1e-8 σ₁ in float64, 3e-4 σ₁ in float32) are then lost; the error bound says so.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from squeeze_onnx.decompositions.base import Decomposition, check_rank
from squeeze_onnx.decompositions.blocks import Matrix, SmallSide
from squeeze_onnx.decompositions.error_bounds import NormBound, krylov_norm
from squeeze_onnx.decompositions.exact import Exact
from squeeze_onnx.decompositions.range_finder import orthonormal, power_range, project, well_conditioned

FORM_GRAM_UP_TO = 20
"""AAᵀ is formed if its side is at most this many times the columns of the sketch."""

DEGREE = 4
"""Products with AAᵀ between two looks at the error; a look costs about as much as three of them."""

MOST_LOOKS = 10
"""Looks at the error before the adaptive form gives up. Its error bound holds all the same."""


@dataclass(frozen=True)
class SubspaceIteration:
    """Near-optimal error at a few times the cost of RSVD.

    power_iterations: q of the paper, 1 or more; None iterates until the spectral error is within ``tolerance``.
    tolerance: 0.01 stops when the error is estimated at most 1 % above the optimal one; for ``power_iterations`` None.
    oversampling: columns of the sketch beyond the rank; None is a quarter of the rank, and 10 at least.
    working_dtype: precision of the products with the matrix and of the iterations; the rest is float64.
    seed: of the sketch and of the probes of the error.
    """

    power_iterations: int | None = None
    tolerance: float = 0.01
    oversampling: int | None = None
    working_dtype: DTypeLike = np.float64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.power_iterations is not None and self.power_iterations < 1:
            raise ValueError(f"RSI takes 1 power iteration or more. Got {self.power_iterations}.")

    def decompose(self, matrix: Matrix, rank: int) -> Decomposition:
        """The leading ``rank`` triplets of ``matrix`` (in, out). A sketch as wide as the matrix is the exact answer."""
        check_rank(matrix, rank)
        side = SmallSide(matrix)
        size = rank + (max(10, rank // 4) if self.oversampling is None else self.oversampling)
        if size >= side.shape[0]:
            return Exact().decompose(matrix, rank)
        rng = np.random.default_rng(self.seed)
        dtype = np.dtype(self.working_dtype)
        gram: GramOperator = ProductGram(side)
        if self.power_iterations is None:
            if side.shape[0] <= FORM_GRAM_UP_TO * size:
                gram = FormedGram(side.gram(dtype))
            basis, error = _adaptive_range(gram, rank, size, self.tolerance, rng)
            return sharpen(project(side, basis, rank), error)
        found = project(side, power_range(side, size, self.power_iterations, rng, dtype), rank)
        ...


class GramOperator(Protocol):
    """AAᵀ (small, small), applied in two halves with whatever lies between them."""

    dimension: int

    def half(self, vectors: np.ndarray) -> np.ndarray:
        """What is known of AAᵀX after the first half, for X = ``vectors``; linear in X from the right."""
        ...

    def whole(self, half: np.ndarray) -> np.ndarray:
        """AAᵀX from `half` of X."""
        ...

    def inner(self, vectors: np.ndarray, half: np.ndarray) -> np.ndarray:
        """XᵀAAᵀX from X and `half` of X."""
        ...


