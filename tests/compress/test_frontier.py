"""The search on a line: what bisection finds, how often it asks, and how it goes back."""

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.compress.frontier import GRID, FrontierPoint, back_off, smallest_passing
from squeeze_onnx.evaluate.bootstrap import Interval
from squeeze_onnx.evaluate.evaluator import Grade


class Gate:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, grid: Sequence[float], answers: Sequence[bool]) -> None:
        self.answers = dict(zip(grid, answers, strict=True))
        self.asked: list[float] = []

    def __call__(self, keep: float) -> bool:
        self.asked.append(keep)
        return self.answers[keep]


def test_the_grid_is_searched_with_six_questions() -> None:
    assert (GRID[0], GRID[-1], len(GRID)) == (0.02, 0.98, 49)
    for start in range(len(GRID) + 1):
        gate = Gate(GRID, [index >= start for index in range(len(GRID))])
        assert smallest_passing(GRID, gate) == start
        assert len(gate.asked) <= 6


@given(answers=st.lists(st.booleans(), min_size=1, max_size=40))
def test_what_is_found_passed_and_the_budget_below_it_failed_whatever_the_noise(answers: list[bool]) -> None:
    grid = [0.01 * number for number in range(len(answers))]
    gate = Gate(grid, answers)
    found = smallest_passing(grid, gate)
    assert len(gate.asked) == len(set(gate.asked)) <= math.ceil(math.log2(len(answers) + 1))
    if found < len(grid):
        assert answers[found]
        assert grid[found] in gate.asked
    if found > 0:
        assert not answers[found - 1]
        assert grid[found - 1] in gate.asked


def test_going_back_doubles_its_steps_and_ends_with_the_largest() -> None:
    grid = tuple(range(20))
    assert list(back_off(grid, 2)) == [2, 3, 5, 9, 17, 19]
    assert list(back_off(grid, 18)) == [18, 19]
    assert list(back_off(grid, 19)) == [19]
    assert list(back_off(grid[:1], 0)) == [0]


def test_a_point_is_plain_json() -> None:
    point = FrontierPoint(0.5, 1000, Grade(0.81, 1.5, Interval(-0.5, 3.5)), passed=False)
    assert point.to_json() == {
        "keep": 0.5,
        "metric": 0.81,
        "drop_points": 1.5,
        "drop_interval": [-0.5, 3.5],
        "bytes": 1000,
        "passed": False,
    }
