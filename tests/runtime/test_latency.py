from dataclasses import dataclass, field

import numpy as np
import pytest

from squeeze_onnx.errors import OptionError
from squeeze_onnx.runtime.latency import Latency, measure_latency
from squeeze_onnx.runtime.sessions import Session


@dataclass
class Machine:
    """A clock that moves only when a model runs, and the log of who ran."""

    now: float = 0.0
    log: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def session(self, name: str, seconds: list[float]) -> Session:
        """Return a session whose n-th run takes ``seconds[n]``, over and over."""
        return Session(name, "cpu", (), (), _Ort(self, name, seconds))


@dataclass
class _Ort:
    machine: Machine
    name: str
    seconds: list[float]

    def run(self, _outputs: object, _feeds: object) -> list[np.ndarray]:
        turn = self.machine.log.count(self.name)
        self.machine.now += self.seconds[turn % len(self.seconds)]
        self.machine.log.append(self.name)
        return []


def test_sessions_take_turns_and_the_order_turns_around() -> None:
    machine = Machine()
    sessions = [machine.session(name, [1.0]) for name in "ab"]
    measure_latency([(session, {}) for session in sessions], rounds=2, repeats=1, warm_up=1, clock=machine.clock)
    assert "".join(machine.log) == "aabb" + "bbaa" + "aabb"


def test_only_the_repeats_of_rounds_after_the_warm_up_count() -> None:
    machine = Machine()
    # A round is an untimed run of 50 s and two timed ones; the first round is warm-up.
    slow = machine.session("a", [50.0, 9.0, 9.0, 50.0, 0.001, 0.002])
    [latency] = measure_latency([(slow, {})], rounds=1, repeats=2, warm_up=1, clock=machine.clock)
    np.testing.assert_allclose(latency.runs_ms, [[1.0, 2.0]])


def test_each_session_gets_its_own_times() -> None:
    machine = Machine()
    sessions = [machine.session("a", [0.002]), machine.session("b", [0.001])]
    slow, fast = measure_latency([(session, {}) for session in sessions], rounds=4, clock=machine.clock)
    assert slow.p50_ms == pytest.approx(2.0)
    assert fast.p95_ms == pytest.approx(1.0)


def test_p50_and_p95_are_over_all_runs() -> None:
    latency = Latency(np.arange(101.0).reshape(-1, 1))
    assert (latency.p50_ms, latency.p95_ms) == (50.0, 95.0)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"repeats": 0}, {"warm_up": -1}])
def test_numbers_that_measure_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="rounds ≥ 1"):
        measure_latency([], **wrong)  # type: ignore[arg-type]
