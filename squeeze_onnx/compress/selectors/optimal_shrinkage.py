"""Optimal shrinkage as a selector: keep what the shrinker does not set to zero."""

from dataclasses import dataclass, field

import numpy as np

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.noise import MedianSingularValue, NoiseEstimator
from squeeze_onnx.spectral.rmt.shrinkage import SHRINKERS, shrink
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class OptimalShrinkage:
    """Keep the components whose optimally shrunk singular value is positive (Gavish & Donoho 2017).

    In units of √n·σ, with β the aspect ratio, a singular value y of a signal x(y) = √(½(y² − β − 1 + √((y² − β − 1)² − 4β))) is
    shrunk to √((y² − β − 1)² − 4β)/y for the Frobenius loss, to x·√((x² + β)/(x² + 1)) for the operator loss and to
    (x⁴ − β − √β·x·y)/(x²y) for the nuclear loss, and to 0 below 1 + √β or where that is negative.

    ``loss`` is a name of `SHRINKERS`. For "frobenius" and "operator" that is every singular value above the
    Marchenko–Pastur edge, for "nuclear" a few less; pure noise often has one or two just above that edge, for which the
    Tracy–Widom edge allows. The shrunk values themselves come from `squeeze_onnx.spectral.rmt.shrinkage.shrink`.
    Raises `OptionError` for an unknown loss.
    """

    loss: str = "frobenius"
    noise: NoiseEstimator = field(default_factory=MedianSingularValue)

    def __post_init__(self) -> None:
        if self.loss not in SHRINKERS:
            raise OptionError(f"the shrinkage loss must be one of {', '.join(SHRINKERS)}. Got {self.loss!r}")

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Count the components of ``spectrum`` that survive the shrinkage."""
        sigma = self.noise.estimate(spectrum)
        rank = int(np.count_nonzero(shrink(spectrum, sigma, SHRINKERS[self.loss])))
        reason = (
            f"{rank} of {spectrum.smaller_dimension} singular values stay positive under optimal {self.loss} shrinkage "
            f"of noise with σ = {sigma:.4g}"
        )
        return RankChoice.leading(spectrum, rank, "shrinkage", reason)
