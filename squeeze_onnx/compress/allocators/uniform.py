"""Uniform: every site keeps the same fraction of its parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from squeeze_onnx.compress.allocators.base import Allocator, Candidate
from squeeze_onnx.compress.selectors import RankChoice


@dataclass(frozen=True)
class Uniform(Allocator):
    """Rank ⌊keep · in·out / (in + out)⌋ everywhere: the usual baseline of the low-rank literature."""

    keep: float

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, RankChoice]:
        """Give each candidate the largest rank whose factors fit in ``keep`` of its parameters, and at least one."""
        return {candidate.name: self._choose(candidate) for candidate in candidates}

    def _choose(self, candidate: Candidate) -> RankChoice:
        affordable = int(self.keep * candidate.dense_parameters / sum(candidate.spectrum.shape)) - candidate.extra_rank
        rank = candidate.spectrum.smaller_dimension if self.keep >= 1 else max(affordable, 1 - candidate.extra_rank)
        reason = f"{self.keep:.4g} of the parameters of every site"
        return RankChoice.leading(candidate.spectrum, rank, "uniform", reason)
