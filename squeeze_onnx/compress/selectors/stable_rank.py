"""Stable rank: a cut with nothing to choose."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum, stable_rank


@dataclass(frozen=True)
class StableRank:
    """Keep ⌈‖W‖_F²/‖W‖₂²⌉ components: how many it takes if all were as strong as the first.

    A drastic cut where one component stands out, and no cut at all where they are equal.
    """

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Round the stable rank of ``spectrum`` up."""
        stable = stable_rank(spectrum.singular_values)
        # A sum of k equal squares may round to just above k.
        rank = int(np.ceil(stable * (1 - 1e-12)))
        return RankChoice.leading(
            spectrum, rank, "stable-rank", f"the stable rank is {stable:.4g}, rounded up to {rank}"
        )
