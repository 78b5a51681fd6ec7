"""The frontier: what one method makes of a model at every budget, and where on it a gate is met with the least."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from squeeze_onnx.evaluate.evaluator import Grade

GRID = tuple(step / 50 for step in range(1, 50))
"""The budgets that are looked at: keep 0.02, 0.04 … 0.98. Six halvings find one of them."""


@dataclass(frozen=True)
class FrontierPoint:
    """The model of budget ``keep``, of so many ``bytes``, as it was graded; ``passed`` says whether its drop is allowed."""

    keep: float
    bytes: int
    grade: Grade
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        grade = self.grade
        return {
            "keep": self.keep,
            "metric": grade.metric,
            "drop_points": grade.drop_points,
            "drop_interval": [grade.drop_interval.low, grade.drop_interval.high],
            "bytes": self.bytes,
            "passed": self.passed,
        }


def smallest_passing(grid: Sequence[float], passes: Callable[[float], bool]) -> int:
    """Return the index of the first budget of ``grid`` (ascending) that ``passes``; its length if none does.

    Bisection: at most ⌈log₂(n + 1)⌉ of n budgets are asked. It takes for granted that quality grows with the budget; where noise
    says otherwise, what is returned has passed, and the budget below it has failed.
    """
    return bisect_left(grid, True, key=passes)


def back_off(grid: Sequence[float], start: int) -> Iterator[float]:
    """Yield the budget at ``start`` and larger ones in steps that double (1, 2, 4 …), the largest last."""
    step = 1
    while start < len(grid) - 1:
        yield grid[start]
        start += step
        step *= 2
    yield grid[-1]
