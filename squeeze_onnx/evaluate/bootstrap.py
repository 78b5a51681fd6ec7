"""Paired bootstrap: how far a difference measured on some hundred rows can be trusted.

Both models are scored on the same resampled rows, so the part of the noise that they share cancels (Koehn 2004, paired
bootstrap resampling). Intervals are percentile intervals (Efron & Tibshirani 1993, §13.3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.evaluate.metrics import Metric

RESAMPLES = 1000
LEVEL = 0.95
_DRAWN_AT_ONCE = 4_000_000
"""Drawn row numbers held in memory at a time: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


def drop_interval(
    metric: Metric,
    references: np.ndarray,
    baseline: np.ndarray,
    candidate: np.ndarray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the interval of the drop from ``metric(baseline)`` to ``metric(candidate)``, in points (`Metric.drops`).

    ``references`` have shape (rows,), both predictions too, or (rows, counts).
    """

    def drops(drawn: np.ndarray) -> np.ndarray:
        truth = references[drawn]
        return metric.drops(metric(truth, baseline[drawn]), metric(truth, candidate[drawn]))

    return bootstrap_interval(drops, len(references), seed=seed, resamples=resamples, level=LEVEL)


def speedup_interval(
    baseline_ms: np.ndarray,
    candidate_ms: np.ndarray,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of ``median(baseline) / median(candidate)``.

    Both have shape (rounds, repeats). Whole rounds are drawn: what disturbs a machine lasts longer than a run.
    """
    return mean_speedup_interval([(baseline_ms, candidate_ms)], seed=seed, resamples=resamples, level=level)


def mean_speedup_interval(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of the geometric mean of the speed-ups of several (baseline, candidate) measurements.

    Each array has shape (rounds, repeats), with the same number of rounds in all of them.
    """

    def means(drawn: np.ndarray) -> np.ndarray:
        logarithms = [
            np.log(np.median(baseline[drawn], axis=(-2, -1)) / np.median(candidate[drawn], axis=(-2, -1)))
            for baseline, candidate in pairs
        ]
        mean: np.ndarray = np.exp(np.mean(logarithms, axis=0))
        return mean

    return bootstrap_interval(means, len(pairs[0][0]), seed=seed, resamples=resamples, level=level)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray], rows: int, *, seed: int, resamples: int, level: float
) -> Interval:
    """Return the percentile interval of ``statistic``, which maps row numbers (resamples, rows) to (resamples,)."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _DRAWN_AT_ONCE // rows)
    values = [
        statistic(rng.integers(rows, size=(min(chunk, resamples - start), rows)))
        for start in range(0, resamples, chunk)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(values), [tail, 1 - tail])
    return Interval(float(low), float(high))
