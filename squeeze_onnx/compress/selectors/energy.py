"""Energy: the usual rule of thumb, for comparison."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class Energy:
    """Keep min {r : Σ_{i≤r} s_i² ≥ f · ‖W‖_F²} components, f = ``fraction``; raises `OptionError` outside [0, 1]."""

    fraction: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise OptionError(f"the energy fraction must be a float in the range [0, 1]. Got {self.fraction!r}")

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Count the components of ``spectrum`` up to the fraction."""
        rank = int(np.searchsorted(spectrum.cumulative_energy, self.fraction))
        reason = (
            f"{rank} of {spectrum.smaller_dimension} components hold {100 * spectrum.energy_kept(rank):.4g} % "
            f"of the energy, {100 * self.fraction:.4g} % asked"
        )
        return RankChoice.leading(spectrum, rank, "energy", reason)
