"""How a stage goes through its items, without the work knowing who listens, or who does it.

A stage takes ``track: Track = silent``. Where each item builds on what the ones before left it writes
``for site in track(sites, "Spectra"):``; where items are independent it writes ``track.map(measure, sites, "Spectra")``.
The command line hands in progress bars, and other machines if it is told of some; everybody else gets plain iteration.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")
R = TypeVar("R")

Status = Callable[[], str]
"""Says in a few words how the work goes; asked after each item."""


def no_status() -> str:
    """Say nothing beyond how far it got."""
    return ""


@runtime_checkable
class Track(Protocol):
    """Go through ``items`` while telling somebody how far it got. One of your own is a subclass with ``__call__``."""

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        """Yield the items in order."""
        ...

    def map(self, task: Callable[[T], R], items: Sequence[T], description: str) -> Iterable[R]:
        """Yield ``task(item)`` in order of the items.

        ``task`` may be done elsewhere, several at a time and more than once: it is a function of a module, or a partial of one,
        and changes nothing but what it returns.
        """
        return (task(item) for item in self(items, description))

    def ends_early(self, description: str) -> bool:
        """Say whether a stage that can stop with what it has so far does so on Ctrl-C; else everything ends."""
        return False

    def hands(self) -> int:
        """Say how many tasks `map` does at once: into so many parts work is best cut that can be cut anyhow."""
        return 1


class _Silent(Track):
    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        return items


silent: Track = _Silent()
"""Plain iteration: the default ``Track``."""
