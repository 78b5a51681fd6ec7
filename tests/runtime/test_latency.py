from dataclasses import dataclass, field

import numpy as np
import pytest

from squeeze_onnx.runtime.latency import Latency, Run, measure_latency
from squeeze_onnx.support.errors import OptionError


@dataclass
class Machine:
    """A clock that moves only when a model runs, and the log of who ran."""

    now: float = 0.0
    log: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def run(self, name: str, seconds: list[float]) -> Run:
        """Return a run whose n-th call takes ``seconds[n]``, over and over."""

        def call() -> None:
            turn = self.log.count(name)
            self.now += seconds[turn % len(seconds)]
            self.log.append(name)

        return call


def test_models_take_turns_and_the_order_turns_around() -> None:
    machine = Machine()
    runs = [machine.run(name, [1.0]) for name in "ab"]
    measure_latency(runs, rounds=2, repeats=1, warm_up=1, clock=machine.clock)
    assert "".join(machine.log) == "aabb" + "bbaa" + "aabb"


def test_only_the_repeats_of_rounds_after_the_warm_up_count() -> None:
    machine = Machine()
    # A round is an untimed run of 50 s and two timed ones; the first round is warm-up.
    slow = machine.run("a", [50.0, 9.0, 9.0, 50.0, 0.001, 0.002])
    [latency] = measure_latency([slow], rounds=1, repeats=2, warm_up=1, clock=machine.clock)
    np.testing.assert_allclose(latency.runs_ms, [[1.0, 2.0]])


def test_each_model_gets_its_own_times() -> None:
    machine = Machine()
    runs = [machine.run("a", [0.002]), machine.run("b", [0.001])]
    slow, fast = measure_latency(runs, rounds=4, clock=machine.clock)
    assert slow.p50_ms == pytest.approx(2.0)
    assert fast.p95_ms == pytest.approx(1.0)


def test_p50_and_p95_are_over_all_runs() -> None:
    latency = Latency(np.arange(101.0).reshape(-1, 1))
    assert (latency.p50_ms, latency.p95_ms) == (50.0, 95.0)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"repeats": 0}, {"warm_up": -1}])
def test_numbers_that_measure_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="rounds ≥ 1"):
        measure_latency([], **wrong)  # type: ignore[arg-type]
