"""Effective-rank reduction: the paper's FFN regime, stated as how much effective rank goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.base import Allocator, Candidate
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import effective_rank


@dataclass(frozen=True)
class EffectiveRankReduction(Allocator):
    """Cut each site to the smallest rank that leaves (1 − reduction) of its entropy-effective rank."""

    reduction: float

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, RankChoice]:
        """Choose each rank by bisection: effective rank grows with the number of components kept."""
        return {candidate.name: self._choose(candidate) for candidate in candidates}

    def _choose(self, candidate: Candidate) -> RankChoice:
        values = candidate.spectrum.singular_values
        before = effective_rank(values)
        target = (1 - self.reduction) * before
        low, high = 0, int(np.count_nonzero(values))
        while low < high:
            middle = (low + high) // 2
            if effective_rank(values[:middle]) < target:
                low = middle + 1
            else:
                high = middle
        reason = f"effective rank {before:.1f} reduced by {100 * self.reduction:.0f} %"
        return RankChoice.leading(candidate.spectrum, low, "effective_rank", reason)
