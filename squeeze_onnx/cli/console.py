"""What people see: tables on stdout, progress on stderr, nothing extra when nobody is watching."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from squeeze_onnx.support.progress import Status, Track, no_status, silent

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def verbosity_options(command: F) -> F:
    """Add ``--quiet`` and ``--verbose``."""
    command = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")(command)
    return click.option("-v", "--verbose", is_flag=True, help="Print every site and every reason.")(command)


def output_console(*, quiet: bool = False) -> Console:
    """Return the console for results, on stdout; silent if ``quiet``."""
    # Without markup: brackets in the names of nodes and files mean nothing.
    console = Console(quiet=quiet, highlight=False, markup=False)
    # A pipe has no width of its own: tables then take what they need instead of being cut at 80 columns.
    if not console.is_terminal:
        console.width = 1000
    return console


def progress_track(*, quiet: bool = False) -> Track:
    """Return progress bars on stderr when that is a terminal and not ``quiet``, else plain iteration."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return silent

    return ProgressBars(console)


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


def readable_bytes(count: float) -> str:
    """Bytes as people read them, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def readable_seconds(seconds: float) -> str:
    """Seconds as people read them: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain_table(title: str, texts: list[str], numbers: list[str]) -> Table:
    """Return an empty table: columns of text first, columns of numbers after them."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table
