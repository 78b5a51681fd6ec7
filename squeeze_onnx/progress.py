"""How long work says where it stands, without the work knowing who listens.

A stage takes ``track: Track = silent`` and writes ``for site in track(sites, "Spectra"):``.
The command line hands in progress bars; everybody else gets plain iteration.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")

Status = Callable[[], str]
"""Says in a few words how the work goes; asked after each item."""


def no_status() -> str:
    """Say nothing beyond how far it got."""
    return ""


class Track(Protocol):
    """Iterate over ``items`` while telling somebody how far it got."""

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        """Yield the items in order."""
        ...


def silent(items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
    """Plain iteration: the default ``Track``."""
    return items
