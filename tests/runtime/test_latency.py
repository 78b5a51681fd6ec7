from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from squeeze_onnx.runtime.latency import Latency, Run, measure_latency, measure_turns, turn_order
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


@pytest.mark.parametrize("models", [1, 2, 3, 5])
def test_no_model_has_a_better_place_than_another(models: int) -> None:
    orders = [turn_order(number, models) for number in range(2 * models)]
    assert all(sorted(order) == list(range(models)) for order in orders)
    places = Counter((index, place) for order in orders for place, index in enumerate(order))
    assert set(places.values()) == {2}
    before = Counter(pair for order in orders for pair in pairwise(order))
    assert all(count == before[second, first] for (first, second), count in before.items())


def test_a_turn_is_asked_for_its_repeats_in_every_round() -> None:
    asked: list[tuple[str, int]] = []

    def turn(name: str, repeats: int) -> list[float]:
        asked.append((name, repeats))
        return [float(len(asked))] * repeats

    first, second = measure_turns(
        [lambda repeats: turn("a", repeats), lambda repeats: turn("b", repeats)], rounds=2, repeats=3, warm_up=1
    )
    assert asked == [("a", 3), ("b", 3), ("b", 3), ("a", 3), ("a", 3), ("b", 3)]
    np.testing.assert_array_equal(first.runs_ms, [[4] * 3, [5] * 3])
    np.testing.assert_array_equal(second.runs_ms, [[3] * 3, [6] * 3])


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
