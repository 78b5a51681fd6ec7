"""Weighting by what a weight reads and by what its output does: the error is the expected change of the model's answer.

With L as in `squeeze_onnx.spectral.weightings.activations` (LᵀL = E[x xᵀ]) and R Rᵀ = E[g gᵀ], the Fisher information of the
output, the weighted error ‖L (W − Ŵ) R‖_F² is the quadratic form of the Kronecker-factored Fisher information of W (K-FAC,
Martens & Grosse 2015, arXiv 1503.05671): to second order, how far the distribution of the answer moves. Its best rank-r Ŵ is
L⁻¹ (L W R)_r R⁻¹ (Eckart–Young), and with U Σ Vᵀ = L W R

    Ŵ = (W R V_r) (Σ_r⁻¹ U_rᵀ L W),

for L⁻¹ U_r Σ_r = W R V_r and V_rᵀ R⁻¹ = Σ_r⁻¹ U_rᵀ L W. So neither root is inverted, only the singular values that are kept.
"""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposition, Factors
from squeeze_onnx.spectral.fisher_moments import OutputFisher
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings.base import balanced

TINY = 1e-12
"""Singular values up to this part of the largest are rounding: their components hold nothing of the weight."""


@dataclass(frozen=True, eq=False)
class KroneckerWeightedMatrix:
    """L W R, and the way back: the ``weight`` W, its ``outputs``, of which R is, and L W."""

    matrix: np.ndarray
    weight: np.ndarray
    outputs: OutputFisher
    left_weighted: np.ndarray
    extra_rank: int = 0

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """Factors W R V_r (in, rank) and Σ_r⁻¹ U_rᵀ L W (rank, out), balanced."""
        values = decomposition.singular_values[:rank]
        inverse = np.divide(1.0, values, out=np.zeros(rank), where=values > TINY * values[:1])
        left = self.weight @ self.outputs.spread(decomposition.right_vectors[:rank].T)
        return balanced(left, inverse[:, None] * (decomposition.left_vectors[:, :rank].T @ self.left_weighted))


@dataclass(frozen=True)
class Kronecker:
    """The second moment of the inputs on the left, the Fisher information of the outputs on the right."""

    inputs: Moments
    outputs: OutputFisher

    def apply(self, weight: np.ndarray) -> KroneckerWeightedMatrix:
        """Return L W R for ``weight`` (in, out)."""
        exact = weight.astype(np.float64, copy=False)
        left = self.inputs.weigh(exact)
        return KroneckerWeightedMatrix(self.outputs.weigh(left), exact, self.outputs, left)
