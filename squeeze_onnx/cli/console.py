"""What people see: tables on stdout, progress on stderr, nothing extra when nobody is watching."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from squeeze_onnx.cli.flags import FlagConsole
from squeeze_onnx.support.progress import Status, Track, no_status
from squeeze_onnx.support.readable import readable_seconds

PATIENCE = 30.0
"""Seconds after which a run that nobody watches on a terminal says where it is."""

ENDS = "{} ends here, the best so far is kept and written; Ctrl-C once more gives up."

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def verbosity_options(command: F) -> F:
    """Add ``--quiet`` and ``--verbose``."""
    command = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")(command)
    return click.option("-v", "--verbose", is_flag=True, help="Print every site and every reason.")(command)


def verbosity_of(options: dict[str, Any]) -> tuple[bool, bool]:
    """Take ``quiet`` and ``verbose`` out of the ``options`` of a command, and return them."""
    return options.pop("quiet"), options.pop("verbose")


def output_console(*, quiet: bool = False) -> Console:
    """Return the console for results, on stdout; silent if ``quiet``."""
    # Without markup: brackets in the names of nodes and files mean nothing.
    console = FlagConsole(quiet=quiet, highlight=False, markup=False)
    # A pipe has no width of its own: tables then take what they need instead of being cut at 80 columns.
    if not console.is_terminal:
        console.width = 1000
    return console


def progress_track(*, quiet: bool = False) -> Track:
    """Return progress bars on stderr when that is a terminal, else a line for each stage of a long run; nothing if ``quiet``."""
    console = FlagConsole(stderr=True)
    if quiet:
        return Unseen()
    return ProgressBars(console) if console.is_terminal else StageLines()


class Unseen(Track):
    """Nothing is shown."""

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        """Yield the items in order."""
        return items

    def ends_early(self, description: str) -> bool:
        """Stop with what there is: a second Ctrl-C gives up."""
        return True


class StageLines(Track):
    """Lines on stderr for each stage, once a run has taken some time: a pipe or a log is told that it goes on.

    One when the stage begins, and one with what is left of it when it has taken some time itself. ``patience`` is in seconds,
    after which lines begin; ``clock`` returns seconds.
    """

    def __init__(self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._start = clock()
        self._told = ""

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        """Yield the items in order."""
        began, estimated = self._clock(), False
        for done, item in enumerate(items):
            now = self._clock()
            told = f"{readable_seconds(now - self._start)}: {description}: {done} of {len(items)} done"
            if done and not estimated and now - began > self._patience:
                estimated, self._told = True, description
                click.echo(
                    f"{told}, about {readable_seconds((now - began) / done * (len(items) - done))} left", err=True
                )
            elif description != self._told and now - self._start > self._patience:
                self._told = description
                click.echo(told, err=True)
            yield item

    def ends_early(self, description: str) -> bool:
        """Say that the stage stops with what there is."""
        click.echo(ENDS.format(description), err=True)
        return True


class ProgressBars(Track):
    """A bar for each stage, which goes when the stage is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        """Yield the items in order."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(description, total=len(items), status="")
            for item in items:
                yield item
                progress.update(task, advance=1, status=status())

    def ends_early(self, description: str) -> bool:
        """Say that the stage stops with what there is."""
        self._console.print(ENDS.format(description))
        return True


def plain_table(title: str, texts: list[str], numbers: list[str]) -> Table:
    """Return an empty table: columns of text first, columns of numbers after them."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
