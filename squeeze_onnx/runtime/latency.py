"""How long a run takes, measured so that two models can be compared on a machine that is not quiet."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.errors import OptionError
from squeeze_onnx.runtime.sessions import Feeds, Session


@dataclass(frozen=True, eq=False)
class Latency:
    """Wall-clock times of single runs in milliseconds, shape (rounds, repeats), host-to-device copies included."""

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
    models: Sequence[tuple[Session, Feeds]],
    *,
    rounds: int = 20,
    repeats: int = 3,
    warm_up: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Latency, ...]:
    """Time every session on its feeds, in turns; one Latency per session, in order.

    The sessions take turns in every round, and the order turns around from round to round, so a machine that speeds
    up or slows down meanwhile does so for all of them. A turn is one untimed run, which brings the weights back into
    the caches that the other model has emptied, and ``repeats`` timed ones. ``warm_up`` rounds are thrown away.
    """
    if rounds < 1 or repeats < 1 or warm_up < 0:
        raise OptionError(
            f"a latency measurement takes rounds ≥ 1, repeats ≥ 1, warm-up ≥ 0; got {rounds}, {repeats}, {warm_up}"
        )
    runs_ms = np.empty((len(models), warm_up + rounds, repeats))
    for turn in range(warm_up + rounds):
        order = range(len(models)) if turn % 2 == 0 else reversed(range(len(models)))
        for index in order:
            session, feeds = models[index]
            session.run(None, feeds)
            for repeat in range(repeats):
                start = clock()
                session.run(None, feeds)
                runs_ms[index, turn, repeat] = 1000 * (clock() - start)
    return tuple(Latency(runs) for runs in runs_ms[:, warm_up:])
