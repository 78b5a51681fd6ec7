"""Edge distance: one cut for the whole model, in units of each site's own noise edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.base import Allocator, Candidate, parameter_budget
from squeeze_onnx.compress.selectors import RankChoice


@dataclass(frozen=True)
class EdgeDistance(Allocator):
    """Keep the components with the largest s/edge over all sites until the budget is spent.

    At ratio 1 a component stands at the Tracy–Widom edge of its own matrix, so one cut t for all sites extends SQUEEZE's
    truncation (t = 1) to any size: matrices that stand out of the noise keep more, those that look like noise keep less.
    A site that reaches its break-even rank is dense, and its remaining components cost nothing.
    """

    keep: float

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, RankChoice]:
        """Return the ranks above the lowest common cut that ``keep`` can pay for."""
        ratios = [_ratios_to_edge(candidate) for candidate in candidates]
        costs = [
            np.diff([candidate.parameters(rank) for rank in range(len(ratio) + 1)])
            for candidate, ratio in zip(candidates, ratios, strict=True)
        ]
        site_of = np.repeat(np.arange(len(candidates)), [len(ratio) for ratio in ratios])
        order = np.argsort(-np.concatenate(ratios), kind="stable")
        spent = sum(candidate.parameters(0) for candidate in candidates) + np.cumsum(np.concatenate(costs)[order])
        kept = order[: np.searchsorted(spent, parameter_budget(candidates, self.keep), side="right")]
        ranks = np.bincount(site_of[kept], minlength=len(candidates))
        cut = (
            f"above {np.concatenate(ratios)[kept[-1]]:.4g} of the noise edge"
            if len(kept)
            else "far above the noise edge"
        )
        reason = f"singular values {cut}, for {self.keep:.4g} of all parameters"
        return {
            candidate.name: RankChoice.leading(candidate.spectrum, int(rank), "edge_distance", reason)
            for candidate, rank in zip(candidates, ranks, strict=True)
        }


def _ratios_to_edge(candidate: Candidate) -> np.ndarray:
    """Singular values over the edge; a spectrum of zeros, whose edge is zero too, is all noise."""
    values = candidate.spectrum.singular_values
    return values / candidate.edge if candidate.edge > 0 else np.zeros_like(values)
