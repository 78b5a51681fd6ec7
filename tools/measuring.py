"""What the tools that measure have in common: the reference models, their tasks, their options, and how a row is written."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from squeeze_onnx import ValidateConfig, validate
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.graph.io.model import save_model
from squeeze_onnx.support.downloads import cache_folder
from squeeze_onnx.support.errors import SqueezeError
from tools import row_files
from tools.provenance import commit_now, machine_now, versions_now
from tools.row_files import ROOT, add_to_journal, rows_of
from tools.rows import Row, Tolerance, name_of
from tools.threads import limit_threads

F = TypeVar("F", bound=Callable[..., Any])

BUDGETS = (0.75, 0.5, 0.33)

TASKS = {
    "minilm-l6": "stsb",
    "mpnet-base": "stsb",
    "minilm-l6-MRPC": "mrpc",
    "minilm-l6-SST-2": "sst2",
    "minilm-l6-CoLA": "cola",
    "mpnet-base-MRPC": "mrpc",
}
"""Reference model → the GLUE task it is scored on."""

DEV_ROWS = {"stsb": 1500, "mrpc": 408, "sst2": 872, "cola": 1043}
"""Task → rows of its dev set."""


@dataclass(frozen=True)
class Shared:
    """What rows have done once for all of them: ``what`` names it, ``seconds`` are what it took."""

    what: str
    seconds: float


@dataclass(frozen=True)
class Recorder:
    """Where rows go: into models/MODEL/results, or, for `tools.recheck`, to the end of a journal.

    labels: those that are asked for, none: all. threads: how many the tool computes with, None: all.
    """

    labels: tuple[str, ...] = ()
    journal: Path | None = None
    threads: int | None = None
    failed: list[str] = field(default_factory=list)

    def wants(self, label: str) -> bool:
        """Say whether the row ``label`` is asked for."""
        return not self.labels or label in self.labels

    @contextmanager
    def attempt(self, label: str) -> Iterator[None]:
        """Go on with the next row if this one cannot be made; the tool ends with status 1 then."""
        try:
            yield
        except SqueezeError as error:
            self.failed.append(label)
            click.echo(f"error: {label}: {error}", err=True)

    def keep(
        self,
        place: str,
        label: str,
        command: tuple[str, ...],
        values: Mapping[str, Any],
        tolerance: Mapping[str, Tolerance],
        *,
        seconds: float,
        shared: Shared | None = None,
        speed: bool = False,
    ) -> Row:
        """Write one row of ``place``, MODEL/KIND, with where it comes from; ``command`` makes it, if ``--row`` is added.

        It took ``seconds`` besides what is ``shared``.
        """
        commit, origin = commit_now()
        row = Row(
            name=name_of(place, label),
            label=label,
            command=(*command, "--row", label),
            values=json.loads(json.dumps(values)),
            tolerance=tolerance,
            commit=commit,
            origin=origin,
            date=datetime.now(UTC).date().isoformat(),
            machine=machine_now(self.threads),
            versions=versions_now(),
            seconds=round(seconds + (shared.seconds if shared else 0.0), 1),
            shared_seconds=round(shared.seconds, 1) if shared else 0.0,
            shares=shared.what if shared else None,
            speed=speed,
        )
        if self.journal is None:
            row_files.keep([row])
        else:
            add_to_journal(self.journal, row)
        click.echo(f"{row.name}: {seconds:.0f} s")
        return row

    def attach(self, path: str, text: str) -> None:
        """Write a file that goes with a row, at ``path`` in the repository, or below the folder of a journal's attachments."""
        target = (ROOT if self.journal is None else attachments_of(self.journal)) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def attachments_of(journal: Path) -> Path:
    """Return the folder of the files that go with the rows of ``journal``."""
    return journal.with_suffix(".files")


class Clock:
    """How long each row takes, one after the other."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        began, self._began = self._began, time.monotonic()
        return self._began - began


def row_options(command: F) -> F:
    """Say which rows to make, where they go and with how many threads; the command is given a ``recorder``."""

    @click.option("--row", "labels", multiple=True, metavar="LABEL", help="Only this row; may be given again.")
    @click.option("--journal", type=click.Path(path_type=Path), metavar="FILE", help="Add rows to FILE instead.")
    @click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Compute with N threads, not with all.")
    @wraps(command)
    def wrapped(
        *arguments: Any, labels: tuple[str, ...], journal: Path | None, threads: int | None, **options: Any
    ) -> None:
        if threads is not None:
            limit_threads(threads)
        recorder = Recorder(labels, journal, threads)
        command(*arguments, recorder=recorder, **options)
        if recorder.failed:
            raise SystemExit(1)

    return cast(F, wrapped)


def glue_option(command: F) -> F:
    """Say where the data lies (``glue``)."""
    return click.option(
        "--glue",
        type=click.Path(path_type=Path, exists=True),
        envvar="SQUEEZE_GLUE",
        required=True,
        help="Folder of GLUE splits [default: SQUEEZE_GLUE].",
    )(command)


def data_options(command: F) -> F:
    """Say where the data and the reference models lie (``glue``, ``models``)."""
    return glue_option(models_option(command))


def models_option(command: F) -> F:
    """Say where the reference models lie (``models``)."""
    return click.option(
        "--models",
        type=click.Path(path_type=Path),
        default=cache_folder() / "models",
        show_default="where tools/reference_models.py builds them",
    )(command)


def known_rows(kind: str) -> Iterator[tuple[str, dict[str, Row]]]:
    """Yield model and rows by label of all that was measured of a kind, in the order of `TASKS`."""
    for name in TASKS:
        if rows := rows_of(name, kind):
            yield name, rows


def score(path: Path, result: SqueezeResult, task: str, glue: Path, threads: int | None = None) -> dict[str, Any]:
    """Hold what was made of the model at ``path`` against it, on the whole dev set."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(result.model.ir, Path(folder) / "model.onnx")
        copy_companions(find_repository(path), Path(folder))
        scored = validate(
            path, folder, ValidateConfig(task=task, data=glue, latency_rounds=1, threads=threads)
        ).to_json()
    metric = scored["primary_metric"]
    return {
        "metric": metric,
        **scored["metrics"][metric],
        "cosine_similarity": scored["cosine_similarity"],
        "agreement": scored["agreement"],
        "kept": result.plan.kept_parameters / result.plan.eligible_parameters,
    }
