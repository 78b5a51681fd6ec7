"""What has to be run to make rows again: a process for all rows that share work, the cheapest first."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from tools.row_files import ROOT
from tools.rows import Row

UNKNOWN_SECONDS = 180.0
"""What a row is taken to need that does not say."""

PATIENCE = 4.0
GRACE_SECONDS = 900.0
"""A process is ended after `PATIENCE` times what its rows took when they were recorded, and this, for a busy machine."""


@dataclass(frozen=True)
class Job:
    """A ``command`` of python -m that makes all of ``rows``."""

    command: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        """What it will take: what the rows share once, and what each takes by itself."""
        own = sum(max(seconds_of(row) - row.shared_seconds, 0.0) for row in self.rows)
        return own + max(row.shared_seconds for row in self.rows)

    @property
    def name(self) -> str:
        """A name for files."""
        told = repr((self.command, self.rows[0].shares, self.rows[0].name if self.rows[0].shares is None else ""))
        return f"{self.rows[0].model}-{self.rows[0].kind}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def arguments(self, names: Iterable[str], journal: Path, threads: int | None) -> list[str]:
        """Return what is run for the rows ``names``."""
        wanted = set(names)
        labels = [word for row in self.rows if row.name in wanted for word in ("--row", row.label)]
        limited = [] if threads is None else ["--threads", str(threads)]
        return [sys.executable, "-m", *self.command, *labels, "--journal", str(journal), *limited]


def seconds_of(row: Row) -> float:
    """Return what a row takes by itself, or a guess."""
    return UNKNOWN_SECONDS if row.seconds is None else row.seconds


def jobs_of(rows: Iterable[Row]) -> list[Job]:
    """Return the jobs that make ``rows``, the cheapest first."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        assert row.command is not None, row.name
        command = row.command[:-2]  # without its --row
        groups.setdefault((command, row.shares, row.name if row.shares is None else None), []).append(row)
    jobs = [Job(tuple(command), tuple(group)) for (command, *_), group in groups.items()]  # type: ignore[arg-type]
    return sorted(jobs, key=lambda job: job.seconds)


def run(arguments: list[str], log: Path, limit_seconds: float) -> int | None:
    """Run a process, what it says at the end of ``log``; return its status, None if it took too long and was ended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with log.open("a", encoding="utf-8") as said:
        said.write(f"$ {' '.join(arguments[1:])}\n")
        said.flush()
        with subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
        ) as process:
            try:
                return process.wait(limit_seconds)
            except subprocess.TimeoutExpired:
                said.write(f"ended after {limit_seconds:.0f} s\n")
                return None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


class Duration(click.ParamType[float]):
    """Seconds, as ``90s``, ``15m`` or ``2h``."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration like 90s, 15m or 2h", param, ctx)
        return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
