"""Second moments of values of the graph, summed up while the model runs, and token frequencies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from squeeze_onnx.spectral.moments import SecondMoment, TokenFrequency
from squeeze_onnx.spectral.tall_products import GramBlocks

Counted = Callable[[tuple[int, ...]], np.ndarray | None]
"""Says which of the rows of a value, given their shape, count, in that shape; None: all of them."""


class Accumulator(Protocol):
    """Sums up one value."""

    def rows(self, value: np.ndarray, counted: Counted) -> np.ndarray:
        """Flatten a value of the graph to one row a token, of those that count."""
        ...

    def add(self, rows: np.ndarray) -> None:
        """Take in some rows."""
        ...

    def moments(self) -> SecondMoment | TokenFrequency:
        """Return the moments of all rows taken in, at the end."""
        ...


CHUNK = 512
"""So many tokens are gathered before their products are summed: a sum reads and writes the whole matrix."""


class GramSum:
    """XᵀX of activations, multiplied in float32, summed as `GramBlocks` does and kept in float32."""

    def __init__(self, features: int, summed_in: type[np.floating[Any]] = np.float64) -> None:
        self._sum = GramBlocks(features, summed_in)
        self._tokens = 0
        self._waiting: list[np.ndarray] = []

    def rows(self, value: np.ndarray, counted: Counted) -> np.ndarray:
        """Flatten (…, features) to (tokens, features)."""
        return rows_of_features(value, counted)

    def add(self, rows: np.ndarray) -> None:
        """Keep some rows until there are enough to multiply."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= CHUNK:
            self._sum_up()

    def _sum_up(self) -> None:
        rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._sum.add(rows)
        self._tokens += len(rows)
        self._waiting.clear()

    def moments(self) -> SecondMoment:
        """Return the moments of all rows, at the end."""
        if self._waiting:
            self._sum_up()
        return SecondMoment(self._sum.gram().astype(np.float32, copy=False), self._tokens, self._sum.total)


class LookupCount:
    """How often each row of a table is looked up."""

    def __init__(self, table_rows: int) -> None:
        self._counts = np.zeros(table_rows)

    def rows(self, value: np.ndarray, counted: Counted) -> np.ndarray:
        """Flatten indices."""
        return _only(value.reshape(-1), counted(value.shape))

    def add(self, rows: np.ndarray) -> None:
        """Count some indices."""
        # Gather counts negative indices from the end.
        self._counts += np.bincount(rows % len(self._counts), minlength=len(self._counts))

    def moments(self) -> TokenFrequency:
        """Return the counts."""
        return TokenFrequency(self._counts)


@dataclass(frozen=True)
class SumKind:
    """How a value is summed up."""

    accumulator: Callable[[int], Accumulator]
    features: int

    @property
    def cost(self) -> int:
        """Products for each token."""
        return self.features**2 if self.accumulator is GramSum else 1


Heard = dict[str, SecondMoment | TokenFrequency]
"""Moments by the name of the value that they are of."""


class ValueSums:
    """Sums up the moments of some values of the graph, of the rows that count."""

    def __init__(self, kinds: Mapping[str, SumKind]) -> None:
        self._sums = {name: kind.accumulator(kind.features) for name, kind in kinds.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The values."""
        return tuple(self._sums)

    def hear(self, values: Sequence[np.ndarray], counted: Counted) -> None:
        """Add one batch."""
        for accumulator, value in zip(self._sums.values(), values, strict=True):
            accumulator.add(accumulator.rows(value, counted))

    def heard(self) -> Heard:
        """Return the moments at the end; each sum, twice as large, is gone before the next is made moments of."""
        return {name: self._sums.pop(name).moments() for name in self.names}


def rows_of_features(value: np.ndarray, counted: Counted) -> np.ndarray:
    """Return those rows of ``value`` (…, features) that count, as (rows, features)."""
    return _only(value.reshape(-1, value.shape[-1]), counted(value.shape[:-1]))


def _only(rows: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return rows if mask is None else rows[mask.reshape(-1) > 0]
