"""How long a run takes, measured so that two models can be compared on a machine that is not quiet."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.support.errors import OptionError

Run = Callable[[], object]
"""Runs one model once, on inputs that it holds."""


@dataclass(frozen=True, eq=False)
class Latency:
    """Wall-clock times of single runs in milliseconds, shape (rounds, repeats)."""

    runs_ms: np.ndarray

    @property
    def p50_ms(self) -> float:
        """Return the median."""
        return float(np.quantile(self.runs_ms, 0.5))

    @property
    def p95_ms(self) -> float:
        """Return the 95th percentile."""
        return float(np.quantile(self.runs_ms, 0.95))


def measure_latency(
    runs: Sequence[Run],
    *,
    rounds: int = 20,
    repeats: int = 3,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Latency, ...]:
    """Time every run, in turns; one Latency for each, in order.

    The models take turns in every round, and the order turns around from round to round, so a machine that speeds
    up or slows down meanwhile does so for all of them. A turn is one untimed run, which brings the weights back into
    the caches that the other model has emptied, and ``repeats`` timed ones. ``warm_up`` rounds are thrown away.
    """
    if rounds < 1 or repeats < 1 or warm_up < 0:
        raise OptionError(
            f"a latency measurement takes rounds ≥ 1, repeats ≥ 1, warm-up ≥ 0; got {rounds}, {repeats}, {warm_up}"
        )
    runs_ms = np.empty((len(runs), warm_up + rounds, repeats))
    for turn in range(warm_up + rounds):
        order = range(len(runs)) if turn % 2 == 0 else reversed(range(len(runs)))
        for index in order:
            runs[index]()
            for repeat in range(repeats):
                start = clock()
                runs[index]()
                runs_ms[index, turn, repeat] = 1000 * (clock() - start)
    return tuple(Latency(times) for times in runs_ms[:, warm_up:])
