"""A low-rank correction of what rounding loses: W ≈ Q + L R, with L R the best of its rank in the metric of the inputs.

LQER (Zhang et al. 2024, arXiv 2402.02446) adds such a product to a weight of few bits. The ranks come from one budget of bytes
for all weights: of all next components that take the most relative error of an output away for each byte.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposer, Factors
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings import Whitening

RANK_STEP = 16
"""Ranks are multiples of the smallest block that MatMulNBits knows: a part of a block would be filled up with zeros."""


@dataclass(frozen=True)
class Residual:
    """What rounding took from a weight, W − Q (in, out), and how large the output W makes is."""

    entries: np.ndarray
    moments: Moments
    output_energy: float

    @classmethod
    def of(cls, weight: np.ndarray, rounded: np.ndarray, moments: Moments) -> "Residual":
        """Measure the residual of ``rounded`` in the metric of ``moments``."""
        return cls(weight - rounded, moments, float(np.square(moments.weigh(weight)).sum()))

    def gains(self) -> np.ndarray:
        """Return by how much each further `RANK_STEP` components lessens the relative squared error of the output."""
        values = np.linalg.svd(self.moments.weigh(self.entries), compute_uv=False)
        steps = np.square(values[: len(values) // RANK_STEP * RANK_STEP]).reshape(-1, RANK_STEP).sum(axis=1)
        return steps / self.output_energy if self.output_energy > 0 else np.zeros_like(steps)

    def factors(self, rank: int, decomposer: Decomposer) -> Factors:
        """Return the best correction of this rank."""
        weighted = Whitening(self.moments).apply(self.entries)
        return weighted.factors(decomposer.decompose(weighted.matrix, rank), rank)


def allocate_ranks(residuals: Mapping[str, Residual], budget: int, bytes_of: Mapping[str, int]) -> dict[str, int]:
    """Spend ``budget`` bytes on corrections, where `RANK_STEP` more of one take ``bytes_of`` it; return their ranks by name.

    Greedy, which is optimal up to the last step: the gains of one weight fall.
    """
    gains = {name: residual.gains() / bytes_of[name] for name, residual in residuals.items()}
    steps = dict.fromkeys(gains, 0)
    queue = [(-each[0], name) for name, each in gains.items() if len(each)]
    heapify(queue)
    while queue and budget >= bytes_of[queue[0][1]] and queue[0][0] < 0:
        name = queue[0][1]
        steps[name] += 1
        budget -= bytes_of[name]
        following = gains[name][steps[name]] if steps[name] < len(gains[name]) else 0.0
        heapreplace(queue, (-following, name))
    return {name: RANK_STEP * count for name, count in steps.items()}
