"""Mutation testing: of many small changes to the mathematics and to the rewriting of graphs, how many does a test notice?

    python -m tools.mutate run [--target NAME …] [--sample N --seed S] [--journal FILE] [--json FILE]
    python -m tools.mutate table        (puts what was counted into docs/testing.md)

Each mutant of `tools.mutations` is a process of its own, forked from one that has imported what takes long to import. It replaces
one module, and runs the tests of `TARGETS` until one fails. What ends by itself with all of them passed has survived. Mutants
that cannot be told from the original by any test, and why, are listed in tests/measured/equivalent_mutants.toml.

mutmut 3 and Cosmic Ray were looked at first. The former leaves decorated functions, defaults and constants of modules
alone: properties and cached functions hold many of the formulas here. The latter starts Python anew for each mutant, which takes
longer than most of the tests.
"""

import json
import math
import resource
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.stats import binomtest

from squeeze_onnx.support.environment import environment
from tools.mutant_process import KILLED, OUT_OF_TIME, STILLBORN, SURVIVED, UNTESTED, outcome_of, prepare
from tools.mutations import Mutant, mutants_of
from tools.readme_tables import put_table
from tools.row_files import ROOT

RESULTS = ROOT / "tests" / "measured" / "mutation.json"
EQUIVALENT = ROOT / "tests" / "measured" / "equivalent_mutants.toml"
PAGE = ROOT / "docs" / "testing.md"
PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Target:
    """Files, as patterns from the root, and the tests of each, in which ``{name}`` stands for the name of the file.

    ``left_out``: tests of real models among them, which take longer than all others together.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """Return the files."""
        found = [path for pattern in self.files for path in sorted(ROOT.glob(pattern))]
        return [path.relative_to(ROOT).as_posix() for path in found]

    def tests_of(self, file: str) -> list[str]:
        """Return the tests that are run on a mutant of ``file``, as arguments of pytest."""
        patterns = [pattern.format(name=Path(file).stem) for pattern in self.tests]
        tests = [path.relative_to(ROOT).as_posix() for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        return [*tests, *(f"--deselect={name}" for name in self.left_out)]


TARGETS = {
    "rmt": Target(("squeeze_onnx/spectral/rmt/*.py",), ("tests/spectral/rmt/test_{name}.py",)),
    "allocators": Target(("squeeze_onnx/compress/allocators/*.py",), ("tests/compress/allocators/test_{name}.py",)),
    "graph/rewrite": Target(
        ("squeeze_onnx/graph/rewrite/rewriter.py", "squeeze_onnx/graph/match/factor_pairs.py"),
        (
            "tests/graph/*/test_{name}*.py",
            *(f"tests/graph/{name}.py" for name in ("match/test_feed_forward", "match/test_heads", "io/test_spilling")),
        ),
        left_out=("tests/graph/match/test_heads.py::TestExports",),
    ),
}


def sampled(mutants: Sequence[Mutant], size: int, seed: int) -> list[Mutant]:
    """Draw about ``size`` of ``mutants``, of each file the same part and at least one."""
    generator = np.random.default_rng(seed)
    by_file: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_file.setdefault(mutant.file, []).append(mutant)
    return [
        group[index]
        for group in by_file.values()
        for index in sorted(
            generator.choice(len(group), max(1, round(size * len(group) / len(mutants))), replace=False)
        )
    ]


def equivalents() -> dict[tuple[str, str, str, str], str]:
    """Return why no test can kill a mutant, by file, scope, before and after."""
    with EQUIVALENT.open("rb") as file:
        listed = tomllib.load(file)["mutant"]
    return {
        (each["file"], each["scope"], each["before"], after): each["reason"]
        for each in listed
        for after in each["after"]
    }


def key_of(mutant: Mutant) -> tuple[str, str, str, str]:
    """Return what `equivalents` knows a mutant by."""
    return mutant.file, mutant.scope, mutant.before, mutant.after


class Journal:
    """Outcomes in a file, a line each, so that a run that was stopped goes on, and what was killed stays so."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        self._known = {tuple(key): outcome for *key, outcome in map(json.loads, lines)}

    def outcome(self, mutant: Mutant) -> str | None:
        """Return what became of ``mutant``; None if it is to be tried, for the first time or again."""
        outcome = self._known.get((mutant.line, *key_of(mutant)))
        return None if outcome in (SURVIVED, UNTESTED) else outcome

    def add(self, mutant: Mutant, outcome: str) -> None:
        """Keep what became of ``mutant``."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([mutant.line, *key_of(mutant), outcome], ensure_ascii=False) + "\n")


def examine(target: Target, mutants: Sequence[Mutant], journal: Journal) -> Iterator[tuple[Mutant, str]]:
    """Yield each of ``mutants`` with its outcome. Raises ClickException if the tests fail without any change."""
    limits: dict[str, int] = {}
    for mutant in mutants:
        outcome = journal.outcome(mutant)
        if outcome is None:
            tests = target.tests_of(mutant.file)
            if mutant.file not in limits:
                limits[mutant.file] = _time_limit(mutant.file, tests)
            outcome = outcome_of(mutant, tests, limits[mutant.file])
            journal.add(mutant, outcome)
        yield mutant, outcome


def _time_limit(file: str, tests: Sequence[str]) -> int:
    """Return how many seconds of the processor a mutant of ``file`` may take: what no mutant takes, half more, and 2."""
    before = _cpu_seconds_of_children()
    if outcome_of(None, tests, PATIENCE_SECONDS) != SURVIVED:
        raise click.ClickException(f"{file}: {', '.join(tests)} fail without any change")
    return math.ceil(1.5 * (_cpu_seconds_of_children() - before)) + 2


def _cpu_seconds_of_children() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def counted(
    found: Sequence[tuple[Mutant, str]], known: dict[tuple[str, str, str, str], str], total: int
) -> dict[str, Any]:
    """Count outcomes, of all and of each file, and list what survived. ``total`` is the number of mutants before sampling."""
    alive = [(mutant, outcome) for mutant, outcome in found if outcome != STILLBORN]
    files: dict[str, Counter[str]] = {}
    for mutant, outcome in alive:
        same = outcome == SURVIVED and key_of(mutant) in known
        files.setdefault(mutant.file, Counter())["equivalent" if same else outcome] += 1
    sums = sum(files.values(), Counter())
    killed = sums[KILLED] + sums[OUT_OF_TIME]
    interval = binomtest(killed, len(alive)).proportion_ci(method="wilson")
    return {
        "mutants": total,
        "tried": len(alive),
        "outcomes": dict(sums),
        "killed_of_all": round(killed / len(alive), 4),
        "killed_of_all_interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        "killed_of_killable": round(killed / (len(alive) - sums["equivalent"]), 4),
        "files": {file: dict(counts) for file, counts in files.items()},
        "survivors": [
            {
                "at": f"{mutant.file}:{mutant.line}",
                "before": mutant.before,
                "after": mutant.after,
                "equivalent": known.get(key_of(mutant)),
            }
            for mutant, outcome in alive
            if outcome == SURVIVED
        ],
    }


@click.group()
def main() -> None:
    """Try mutants, and put what became of them into the page."""


@main.command()
@click.option("--target", "names", multiple=True, type=click.Choice(list(TARGETS)), default=tuple(TARGETS))
@click.option("--sample", type=int, help="Try about so many mutants of each target, of each file the same part.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    help="Keep outcomes there; what it says was killed is not tried again.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def run(names: Sequence[str], sample: int | None, seed: int, journal: Path | None, json_path: Path) -> None:
    """Try the mutants of each target."""
    prepare()
    outcomes = Journal(journal)
    known = equivalents()
    results: dict[str, Any] = {}
    command = f"python -m tools.mutate run --sample {sample} --seed {seed}" if sample else "python -m tools.mutate run"
    for name in names:
        target = TARGETS[name]
        mutants = [mutant for file in target.paths() for mutant in mutants_of(ROOT, file)]
        chosen = mutants if sample is None else sampled(mutants, sample, seed)
        began, found = time.monotonic(), []
        for mutant, outcome in examine(target, chosen, outcomes):
            found.append((mutant, outcome))
            if outcome not in (KILLED, STILLBORN):
                click.echo(f"{outcome}: {mutant.file}:{mutant.line} {mutant.scope}: {mutant.before} → {mutant.after}")
        results[name] = counted(found, known, len(mutants))
        click.echo(f"{name}: {results[name]['outcomes']} in {time.monotonic() - began:.0f} s")
        told = {"command": command, "environment": environment(), "targets": results}
        json_path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def rows(targets: dict[str, Any]) -> Iterator[str]:
    """The table."""
    yield "| | mutants | killed | equivalent | survived | killed of all | of those that can be |"
    yield "|---" * 7 + "|"
    for name, result in targets.items():
        outcomes = Counter(result["outcomes"])
        killed = outcomes[KILLED] + outcomes[OUT_OF_TIME]
        low, high = result["killed_of_all_interval"]
        interval = f" ({100 * low:.1f}–{100 * high:.1f})" if result["tried"] < result["mutants"] else ""
        cells = [
            f"`{name}`",
            str(result["tried"]),
            str(killed),
            str(outcomes["equivalent"]),
            str(outcomes[SURVIVED]),
            f"{100 * result['killed_of_all']:.1f} %{interval}",
            f"{100 * result['killed_of_killable']:.1f} %",
        ]
        yield "| " + " | ".join(cells) + " |"


@main.command()
def table() -> None:
    """Put the table into the page."""
    put_table(PAGE, "mutants", rows(json.loads(RESULTS.read_text(encoding="utf-8"))["targets"]))


if __name__ == "__main__":
    main()
