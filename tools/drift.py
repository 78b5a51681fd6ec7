"""Is a value that was measured again the recorded one, within what its row allows?"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tools.rows import Row


@dataclass(frozen=True)
class Comparison:
    """A value of a row, as recorded and as it came out again; ``allowed`` is the largest difference that is no drift."""

    key: str
    recorded: Any
    again: Any
    allowed: float

    @property
    def drifted(self) -> bool:
        """Say whether they differ by more than that; what is no number, or none that is finite, has to be equal."""
        if not _is_number(self.recorded) or not _is_number(self.again):
            return bool(self.recorded != self.again)
        return bool(abs(self.again - self.recorded) > self.allowed * (1 + 1e-9))

    @property
    def share(self) -> float:
        """Return how much of what is allowed the difference takes; above 1 it is a drift."""
        if self.drifted:
            return float("inf") if not _is_number(self.again) or not self.allowed else self._difference / self.allowed
        return self._difference / self.allowed if self.allowed else 0.0

    @property
    def _difference(self) -> float:
        return float(abs(self.again - self.recorded)) if _is_number(self.recorded) else 0.0

    def __str__(self) -> str:
        return f"{self.key} {_told(self.recorded)} → {_told(self.again)} (±{self.allowed:.3g})"


def compared(recorded: Row, again: Row) -> Iterator[Comparison]:
    """Yield what the row ``recorded`` says how to compare, but for times if ``again`` ran on another processor."""
    same = again.machine.compares_with(recorded.machine)
    for key, tolerance in recorded.tolerance.items():
        if tolerance.comparable_on == "any" or same:
            before = recorded.value(key)
            yield Comparison(key, before, _value(again, key), tolerance.allows(before) if _is_number(before) else 0.0)


def _value(row: Row, key: str) -> Any:
    """Return the value, None where the row has it no more."""
    try:
        return row.value(key)
    except KeyError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _told(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
