"""ASVD: each row of the weight counts by how large the input feature is that it meets.

Yuan et al. 2023, "ASVD: Activation-aware singular value decomposition", arXiv 2312.05821: the SVD of S W with a diagonal S of
activation magnitudes to the power α. Here the magnitude is the root mean square.
"""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators import Uniform
from squeeze_onnx.compress.methods import Method
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings.activations import ActivationWeightedMatrix


@dataclass(frozen=True)
class InputMagnitude:
    """S = diag(E[x²])^(α/2), α = ``power``."""

    moments: Moments
    power: float = 0.5

    def apply(self, weight: np.ndarray) -> ActivationWeightedMatrix:
        """Scale the rows of ``weight`` (in, out)."""
        exact = weight.astype(np.float64, copy=False)
        scale = self.moments.diagonal ** (self.power / 2)
        return ActivationWeightedMatrix(scale[:, None] * exact, exact)


ASVD = Method(
    "rows weighted by the magnitude of their inputs, the same fraction of every weight",
    lambda moments, fisher: InputMagnitude(moments),
    lambda keep, alternatives, objective: Uniform(keep),
    needs_calibration=True,
)
