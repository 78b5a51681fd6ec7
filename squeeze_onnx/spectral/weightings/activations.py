"""Weighting by the activations that a weight meets: the error is that of its output, not of its entries.

For inputs X (tokens, in) the output error is ‖X(W − Ŵ)‖_F² = ‖L(W − Ŵ)‖_F² for any L with LᵀL = XᵀX. The best rank-r
Ŵ is W V_r V_rᵀ, with V_r the leading right singular vectors of L W (Eckart–Young in the L-norm; DRONE, Chen et al. 2021,
and SVD-LLM, Wang et al. 2024, arrive at the same matrix through L⁻¹). Nothing is inverted here, so a singular second
moment is no trouble.
"""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposition, Factors
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings.base import balanced


@dataclass(frozen=True)
class ActivationWeightedMatrix:
    """L W, and W itself for the way back."""

    matrix: np.ndarray
    weight: np.ndarray
    extra_rank: int = 0

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """Factors W V_r D⁻¹ (in, rank) and D V_rᵀ (rank, out); the diagonal D gives both sides the same column norms."""
        right = decomposition.right_vectors[:rank]
        return balanced(self.weight @ right.T, right)


@dataclass(frozen=True)
class ActivationScale:
    """Only the diagonal of the second moment: each input feature by its root mean square (ASVD-like, Yuan et al. 2023)."""

    moments: Moments

    def apply(self, weight: np.ndarray) -> ActivationWeightedMatrix:
        """Scale the rows of ``weight`` (in, out)."""
        exact = weight.astype(np.float64, copy=False)
        return ActivationWeightedMatrix(np.sqrt(self.moments.diagonal)[:, None] * exact, exact)


@dataclass(frozen=True)
class Whitening:
    """The full second moment."""

    moments: Moments

    def apply(self, weight: np.ndarray) -> ActivationWeightedMatrix:
        """Return L W for ``weight`` (in, out)."""
        exact = weight.astype(np.float64, copy=False)
        return ActivationWeightedMatrix(self.moments.weigh(exact), exact)
