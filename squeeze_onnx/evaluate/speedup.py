"""How many times as fast one model is as another, and whether that is more than noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from squeeze_onnx.evaluate.bootstrap import Interval, mean_speedup_interval
from squeeze_onnx.runtime.latency import Latency

Verdict = Literal["faster", "slower", "no difference within noise"]


@dataclass(frozen=True)
class Speedup:
    """How many times as fast as the baseline, over one shape or the geometric mean over several, with its 95 % interval."""

    ratio: float
    interval: Interval

    @classmethod
    def over(cls, pairs: Sequence[tuple[Latency, Latency]], *, seed: int) -> "Speedup":
        """Return the speed-up of (baseline, candidate) measured on one or more shapes."""
        logarithms = [np.log(baseline.p50_ms / candidate.p50_ms) for baseline, candidate in pairs]
        runs = [(baseline.runs_ms, candidate.runs_ms) for baseline, candidate in pairs]
        return cls(float(np.exp(np.mean(logarithms))), mean_speedup_interval(runs, seed=seed))

    @property
    def verdict(self) -> Verdict:
        """Name a winner only if the interval leaves out 1."""
        if self.interval.low > 1:
            return "faster"
        return "slower" if self.interval.high < 1 else "no difference within noise"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "speedup": self.ratio,
            "speedup_interval": [self.interval.low, self.interval.high],
            "verdict": self.verdict,
        }
