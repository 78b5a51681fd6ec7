"""Another way to spend a budget: let whole sublayers go, in an order that was measured with those before already gone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RemovalChoice:
    """A weight that goes with its sublayer, and why."""

    reason: str


@dataclass(frozen=True)
class RemovableSublayer:
    """A sublayer that can go after those before it on its path: the names of its ``sites``, the last of which is its own.

    ``output_error`` is what it does to the model's output that it and all before it are gone, in units of ``sensitivity`` ·
    relative squared error.
    """

    sites: tuple[str, ...]
    output_error: float

    @property
    def name(self) -> str:
        """Its name."""
        return self.sites[-1]


Path = tuple[RemovableSublayer, ...]


def beginnings(path: Path) -> tuple[Path, ...]:
    """Return how far one can go on ``path``: not at all, one sublayer, and so on."""
    return tuple(path[:count] for count in range(len(path) + 1))


def sites_of(path: Sequence[RemovableSublayer]) -> Collection[str]:
    """Return the names of all sites that go."""
    return {name for sublayer in path for name in sublayer.sites}


def error_of(path: Sequence[RemovableSublayer]) -> float:
    """Return what it does to the model's output that all of ``path`` is gone."""
    return path[-1].output_error if path else 0.0
