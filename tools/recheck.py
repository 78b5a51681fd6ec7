"""Rows run again at the code of today: is what is written down still what comes out?

    python -m tools.recheck                                    lists rows: what they take, whether they are due, who quotes them
    python -m tools.recheck --cheap                            the rows that CI runs each time
    python -m tools.recheck --sample 5 --seed 1 --under 5m     a few by chance
    python -m tools.recheck --page docs/guides/edge.md         all that a page quotes
    python -m tools.recheck --all --under 15m --record         all that take less, and write down what came out

Exit status 1 if a row drifts by more than it allows (see `tools.tolerances`), or cannot be made. A row is due if the package has
changed since the commit that it ran at. With ``--record`` rows that were recorded at this code are left out, so that a run which
was ended goes on where it was; it wants a checkout without changes, and writes the new rows into models/*/results. Then
``python -m tools.pages`` brings the pages up to date. Rows of times are run with ``--speed`` only, on a quiet machine, and
compared on the same processor only.
"""

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TextIO

import click

from squeeze_onnx.support.downloads import cache_folder
from tools import bench_small, pages
from tools.provenance import code_at, commit_now
from tools.recheck_jobs import Duration, jobs_of, seconds_of
from tools.recheck_run import Rechecking
from tools.row_files import ROOT, all_rows
from tools.rows import Row


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every row.")
@click.option("--cheap", is_flag=True, help="The rows that CI runs each time.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="N rows, drawn by chance.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of --sample.")
@click.option("--page", "quoting", multiple=True, metavar="PAGE", help="Rows that PAGE quotes.")
@click.option("--row", "names", multiple=True, metavar="NAME", help="Rows whose name begins so.")
@click.option("--under", type=Duration(), metavar="15m", help="Only rows that take less, each by itself.")
@click.option("--within", type=Duration(), metavar="3h", help="Begin nothing that would not end in this time.")
@click.option("--speed", is_flag=True, help="Rows of times too: on a quiet machine only.")
@click.option("--record", is_flag=True, help="Write what came out into models/*/results.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Compute with N threads, not with all.")
@click.option("--log", type=click.Path(path_type=Path), metavar="FILE", help="Add to FILE what is printed.")
def main(
    *,
    everything: bool,
    cheap: bool,
    sample: int | None,
    seed: int,
    quoting: Sequence[str],
    names: Sequence[str],
    under: float | None,
    within: float | None,
    speed: bool,
    record: bool,
    threads: int | None,
    log: Path | None,
) -> None:
    """Run rows again and compare; without a choice of rows, list them."""
    rows = all_rows()
    asked = everything or cheap or sample is not None or bool(quoting) or bool(names)
    chosen = [row for row in rows.values() if row.repeats and (speed or not row.speed)]
    chosen = [row for row in chosen if under is None or row.seconds is None or row.seconds <= under]
    if quoting:
        wanted = set().union(*(pages.rows_on(_page(page), rows) for page in quoting))
        chosen = [row for row in chosen if row.name in wanted]
    if names:
        chosen = [row for row in chosen if row.name.startswith(tuple(names))]
    if cheap:
        chosen = [row for row in chosen if row.name in bench_small.IN_CI]
    if sample is not None:
        chosen = random.Random(seed).sample(chosen, min(sample, len(chosen)))
    with ExitStack() as stack:
        say = _teller(stack.enter_context(log.open("a", encoding="utf-8")) if log else None)
        if not asked:
            list_rows(chosen, rows, say)
        elif not chosen:
            raise click.ClickException("no row is what was asked for; python -m tools.recheck lists them")
        else:
            recheck(chosen, say, record=record, threads=threads, within=within)


def recheck(
    chosen: Sequence[Row], say: Callable[[str], None], *, record: bool, threads: int | None, within: float | None
) -> None:
    """Run ``chosen`` again; raises SystemExit(1) for a drift, a row that cannot be made, or time that ran out."""
    commit, origin = commit_now()
    code = code_at(commit)
    if record and (origin != "ran" or code is None):
        raise click.ClickException("--record wants a checkout of git without changes to the code: commit them first")
    with tempfile.TemporaryDirectory() as scratch:
        work = cache_folder() / "recheck" / str(code)[:16] if record else Path(scratch)
        still_valid = (
            (lambda: commit_now()[1] == "ran" and code_at(commit_now()[0]) == code) if record else lambda: True
        )
        checking = Rechecking(work, say, record=record, threads=threads, within=within, still_valid=still_valid)
        before = checking.recorded({row.name: row for row in chosen})
        jobs = jobs_of(before.values())
        say(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit}: {len(chosen)} rows in {len(jobs)} processes")
        say(f"About {told(sum(job.seconds for job in jobs))} as recorded; what they say is in {work / 'log.txt'}")
        finished = checking.carry_out(jobs)
        counts = {word: sum(each.word == word for each in checking.outcomes) for word in ("ok", "drift", "failed")}
        say(", ".join(f"{number} {word}" for word, number in counts.items()))
        if not record and counts["failed"]:
            say((work / "log.txt").read_text(encoding="utf-8")[-3000:])
    if not finished or counts["drift"] or counts["failed"]:
        raise SystemExit(1)


def list_rows(chosen: Sequence[Row], rows: Mapping[str, Row], say: Callable[[str], None]) -> None:
    """Print every row: what it takes by itself, the commit it comes from, whether it is due, and which pages quote it."""
    quoting = pages.pages_of(rows)
    due = _due(code_at(commit_now()[0]))
    for row in sorted(chosen, key=seconds_of):
        took = "?" if row.seconds is None else told(row.seconds)
        state = "due" if due(row) else "of this code"
        say(f"{took:>8}  {(row.commit or '?')[:7]} {row.origin:8} {state:12} {row.name}  {' '.join(quoting[row.name])}")
    jobs = jobs_of(chosen)
    say(f"{len(chosen)} rows in {len(jobs)} processes, about {told(sum(job.seconds for job in jobs))}")


def _due(code: str | None) -> Callable[[Row], bool]:
    """Return what says whether the package has changed since a row ran."""
    known = cache(code_at)
    return lambda row: row.origin != "ran" or known(row.commit) != code


def _page(name: str) -> Path:
    page = ROOT / name
    if page not in pages.pages():
        raise click.BadParameter(f"{name} is no page; README.md, docs/**/*.md and models/*/README.md are")
    return page


def told(seconds: float) -> str:
    """Return a time for people."""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _teller(file: TextIO | None) -> Callable[[str], None]:
    def say(line: str) -> None:
        click.echo(line)
        if file is not None:
            file.write(line + "\n")
            file.flush()

    return say


if __name__ == "__main__":
    main()
