"""How long a run takes, measured so that models can be compared on a machine that is not quiet."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from squeeze_onnx.support.errors import OptionError

Run = Callable[[], object]
"""Runs one model once, on inputs that it holds."""

Turn = Callable[[int], Sequence[float]]
"""Runs one model once, then as often as it is told, and returns how long those runs took in milliseconds."""


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
    """Time ``runs`` of this process in turns, as `measure_turns` does."""
    turns = [partial(timed_turn, run, clock=clock) for run in runs]
    return measure_turns(turns, rounds=rounds, repeats=repeats, warm_up=warm_up)


def timed_turn(run: Run, repeats: int, *, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Run once untimed, which brings the weights back into the caches that others have emptied, then ``repeats`` times timed."""
    run()
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(1000 * (clock() - start))
    return times


def measure_turns(
    turns: Sequence[Turn], *, rounds: int = 20, repeats: int = 3, warm_up: int = 3
) -> tuple[Latency, ...]:
    """Let every model have its turn in every round; one Latency for each, in order.

    A machine that speeds up or slows down meanwhile does so for all of them: see `turn_order`. ``warm_up`` rounds are thrown
    away.
    """
    if rounds < 1 or repeats < 1 or warm_up < 0:
        raise OptionError(
            f"a latency measurement takes rounds ≥ 1, repeats ≥ 1, warm-up ≥ 0; got {rounds}, {repeats}, {warm_up}"
        )
    runs_ms = np.empty((len(turns), warm_up + rounds, repeats))
    for number in range(warm_up + rounds):
        for index in turn_order(number, len(turns)):
            runs_ms[index, number] = turns[index](repeats)
    return tuple(Latency(times) for times in runs_ms[:, warm_up:])


def turn_order(number: int, models: int) -> list[int]:
    """Return in which order the models have their turns in round ``number``.

    Each round begins one model later than the round before, and after every model has begun once the direction turns around: all
    of them come first, last, and after each of their neighbours equally often.
    """
    direction = 1 if number // models % 2 == 0 else -1
    return [(number + direction * step) % models for step in range(models)]
