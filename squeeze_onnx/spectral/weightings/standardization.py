"""SQUEEZE's first step: entries to mean 0 and variance 1, undone exactly by the factors.

Dantas, Junior, Cordeiro, dos Santos (2026), "SQUEEZE", doi 10.21203/rs.3.rs-8720929/v1, step 1.
"""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposition, Factors


@dataclass(frozen=True)
class StandardizedMatrix:
    """Z = (W − μ)/s. W = s·Z + μ·11ᵀ, so the mean is one more rank-one component of the factors."""

    matrix: np.ndarray
    mean: float
    scale: float
    extra_rank: int = 1

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """Factors (in, rank+1), (rank+1, out) of s·Z_rank + μ·11ᵀ, the mean split evenly between the two sides."""
        rows, columns = self.matrix.shape
        core = decomposition.factors(rank)
        scale, mean = np.sqrt(self.scale), np.sqrt(abs(self.mean))
        return Factors(
            left=np.hstack([scale * core.left, np.full((rows, 1), np.copysign(mean, self.mean))]),
            right=np.vstack([scale * core.right, np.full((1, columns), mean)]),
        )


@dataclass(frozen=True)
class Standardization:
    """Standardize all entries of the weight by one mean and one standard deviation."""

    def apply(self, weight: np.ndarray) -> StandardizedMatrix:
        """Return the standardized ``weight`` (in, out); a constant weight gives Z = 0 and scale 0."""
        exact = weight.astype(np.float64)
        mean = float(exact.mean())
        exact -= mean
        scale = float(np.linalg.norm(exact)) / np.sqrt(exact.size)
        # A weight that is constant up to rounding has no spread to divide by: Z is zero and the mean says it all.
        if scale <= 16 * np.finfo(np.float64).eps * abs(mean):
            return StandardizedMatrix(np.zeros_like(exact), mean, 0.0)
        exact /= scale
        return StandardizedMatrix(exact, mean, scale)
