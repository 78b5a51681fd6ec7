"""FWSVD: each row of the weight counts by the Fisher information of its entries.

Hsu, Hua, Chang, Lou, Shen & Jin (2022), "Language model compression with weighted low-rank factorization", arXiv 2207.00112:
min ‖Î (W − Ŵ)‖_F with Î = diag(√Σ_j Î_w[i, j]), solved by the SVD of Î W. The paper multiplies with Î⁻¹ on the way back;
here Ŵ = W V_r V_rᵀ, the same matrix, so a row of no importance is no trouble.
"""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.fisher_moments import RowFisher
from squeeze_onnx.spectral.weightings.activations import ActivationWeightedMatrix


@dataclass(frozen=True)
class FisherRows:
    """The roots of the row sums of the Fisher information."""

    fisher: RowFisher

    def apply(self, weight: np.ndarray) -> ActivationWeightedMatrix:
        """Scale the rows of ``weight`` (in, out)."""
        exact = weight.astype(np.float64, copy=False)
        return ActivationWeightedMatrix(np.sqrt(self.fisher.rows)[:, None] * exact, exact)
