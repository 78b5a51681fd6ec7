from collections.abc import Iterator
from itertools import accumulate, chain, repeat

import pytest

from squeeze_onnx.runtime.idle import rest_until_idle
from squeeze_onnx.support.errors import MachineError


class Machine:
    """A clock that sleeping moves on, and a process that computes in the given shares of each sleep."""

    def __init__(self, shares: Iterator[float]) -> None:
        self.now = self.computed = 0.0
        self.sleeps = 0
        self.shares = shares

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.now += seconds
        self.computed += seconds * next(self.shares)

    def rest(self) -> None:
        rest_until_idle(computed=lambda: self.computed, clock=lambda: self.now, sleep=self.sleep)


@pytest.mark.parametrize(("spinning", "looks"), [(0, 1), (1, 2), (25, 26)])
def test_the_turn_is_kept_as_long_as_threads_spin(spinning: int, looks: int) -> None:
    machine = Machine(chain(repeat(2.0, spinning), repeat(0.01)))
    machine.rest()
    assert machine.sleeps == looks


def test_threads_that_never_stop_are_named() -> None:
    machine = Machine(repeat(1.0))
    with pytest.raises(MachineError, match="threads go on computing 2 s after a run"):
        machine.rest()
    assert machine.now == pytest.approx(2.0, abs=0.01)


def test_this_process_comes_to_rest() -> None:
    list(accumulate(range(1000)))
    rest_until_idle()
