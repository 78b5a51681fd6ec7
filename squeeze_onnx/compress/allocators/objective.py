"""What a budget is spent on: parameters of weights, bytes of a file, or time; and what else of it a model takes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class Cost(Protocol):
    """What the weight of one MatMul costs."""

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        """Cost of weights (rows, size), for each of ``sizes``."""
        ...

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        """Cost of weights (size, columns), for each of ``sizes``."""
        ...


@dataclass(frozen=True)
class ParameterCount:
    """A parameter costs 1."""

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        """Entries of weights (rows, size)."""
        return np.asarray(rows * sizes)

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        """Entries of weights (size, columns)."""
        return np.asarray(sizes * columns)


@dataclass(frozen=True)
class Objective:
    """What is to be saved, as the messages name it, what weights cost of it, and what the rest of the model takes anyway.

    Ranks are multiples of ``rank_multiple``. Tables cost ``of_tables``, where that is not what products cost. A weight that
    becomes two costs ``per_pair`` beside what these cost. ``beside_weights`` is what of ``fixed`` goes with a sublayer, by its
    name: all that it takes but for its weights.
    """

    name: str = "the parameters of the eligible weights"
    cost: Cost = ParameterCount()
    fixed: float = 0.0
    rank_multiple: int = 1
    of_tables: Cost | None = None
    per_pair: float = 0.0
    beside_weights: Mapping[str, float] = field(default_factory=dict)

    def fixed_without(self, gone: Collection[str]) -> float:
        """Return what is left of ``fixed`` without the sublayers whose names are among the sites ``gone``."""
        freed = sum(saved for name, saved in self.beside_weights.items() if name in gone)
        return max(self.fixed - freed, 0.0)

    def cost_of(self, *, is_table: bool) -> Cost:
        """Return what weights of one kind cost."""
        return self.of_tables or self.cost if is_table else self.cost


PARAMETERS = Objective()
