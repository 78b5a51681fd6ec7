"""Fixed ratio: the same fraction of every matrix's components."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class FixedRatio:
    """Keep r = ⌈α · min(in, out)⌉ components, α = ``ratio``; raises `OptionError` outside [0, 1].

    That is a fraction of the rank. For a fraction of each matrix's parameters, ⌊keep · in·out / (in + out)⌋, there is
    `squeeze_onnx.compress.allocators.Uniform`.
    """

    ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"the fixed ratio must be a float in the range [0, 1]. Got {self.ratio!r}")

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Keep the leading components of ``spectrum``."""
        # 0.07 · 100 is 7.000000000000001: what is left of an integer by rounding is no component.
        rank = int(np.ceil(self.ratio * spectrum.smaller_dimension * (1 - 1e-12)))
        reason = f"{rank} of {spectrum.smaller_dimension} components, {100 * self.ratio:.4g} % asked"
        return RankChoice.leading(spectrum, rank, "fixed_ratio", reason)
