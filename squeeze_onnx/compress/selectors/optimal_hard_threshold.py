"""Optimal hard threshold: the cut with the least asymptotic squared error.

Gavish & Donoho (2014), "The Optimal Hard Threshold for Singular Values is 4/√3", IEEE Trans. Inf. Theory 60, 5040.
"""

from dataclasses import dataclass, field

import numpy as np

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.noise import MedianSingularValue, NoiseEstimator
from squeeze_onnx.spectral.rmt.spectrum import Spectrum


def hard_threshold_coefficient(aspect_ratio: float) -> float:
    """λ(β) = √(2(β + 1) + 8β/(β + 1 + √(β² + 14β + 1))): the threshold is λ(β)·√n·σ. 4/√3 at β = 1."""
    beta = aspect_ratio
    return float(np.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta**2 + 14 * beta + 1))))


@dataclass(frozen=True)
class OptimalHardThreshold:
    """Keep the singular values above λ(β)·√n·σ.

    With the default, σ from the median, this is the paper's rule for unknown noise: ω(β)·s_median with
    ω(β) = λ(β)/√μ_β, 2.858 times the median for a square matrix. `KnownNoise` gives the rule for known noise.
    """

    noise: NoiseEstimator = field(default_factory=MedianSingularValue)

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Cut at the threshold for the aspect ratio of ``spectrum`` and its noise level."""
        sigma = self.noise.estimate(spectrum)
        coefficient = hard_threshold_coefficient(spectrum.aspect_ratio)
        threshold = coefficient * float(np.sqrt(spectrum.larger_dimension)) * sigma
        rank = spectrum.rank_above(threshold)
        reason = (
            f"{rank} of {spectrum.smaller_dimension} singular values are above {threshold:.4g}, "
            f"{coefficient:.4g}·√{spectrum.larger_dimension}·σ with σ = {sigma:.4g}"
        )
        return RankChoice(rank, threshold, "hard-threshold", reason)
