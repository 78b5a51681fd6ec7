"""Effective rank: as many components as an even spectrum of the same entropy has."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum, effective_rank


@dataclass(frozen=True)
class EffectiveRank:
    """Keep ⌈exp(−Σ pᵢ ln pᵢ)⌉ components, pᵢ = sᵢ/Σ s (Roy & Vetterli 2007, "The effective rank").

    Cuts little: weights have an effective rank of two thirds of their components and more.
    """

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Round the effective rank of ``spectrum`` up."""
        effective = effective_rank(spectrum.singular_values)
        # The entropy of k equal values may round to just above that of k.
        rank = int(np.ceil(effective * (1 - 1e-12)))
        reason = f"the effective rank is {effective:.4g}, rounded up to {rank}"
        return RankChoice.leading(spectrum, rank, "effective-rank", reason)
