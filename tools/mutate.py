"""Mutation testing: of many small changes to the mathematics and to the rewriting of graphs, how many does a test notice?

    python -m tools.mutate run [--target NAME …] [--sample N --seed S] [--json FILE]
    python -m tools.mutate table        (puts what was counted into docs/testing.md)

Each mutant of `tools.mutations` is a process of its own, forked from one that has imported what takes long to import. It replaces
one module, and runs the tests of `TARGETS` until one fails. What ends by itself with all of them passed has survived. Mutants
that cannot be told from the original by any test, and why, are listed in tests/measured/equivalent_mutants.toml.

mutmut 3 and Cosmic Ray were looked at first. The former leaves decorated functions alone: properties and cached functions, half
of the formulas here. The latter starts Python anew for each mutant, which takes longer than most of the tests.
"""

import importlib
import json
import math
import os
import resource
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from scipy.stats import binomtest

from squeeze_onnx.report.environment import environment
from tools.measuring import ROOT
from tools.mutations import Mutant, mutants_of
from tools.readme_tables import put_table

RESULTS = ROOT / "tests" / "measured" / "mutation.json"
EQUIVALENT = ROOT / "tests" / "measured" / "equivalent_mutants.toml"
PAGE = ROOT / "docs" / "testing.md"


@dataclass(frozen=True)
class Target:
    """Files, as patterns from the root, and the tests that look at them; a test file named like the file comes first.

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
        """Return the tests in the order in which they are to be run on a mutant of ``file``."""
        own = f"test_{Path(file).name}"
        found = [path for pattern in self.tests for path in sorted(ROOT.glob(pattern))]
        tests = [path.relative_to(ROOT).as_posix() for path in sorted(found, key=lambda path: path.name != own)]
        return [*tests, *(f"--deselect={name}" for name in self.left_out)]


TARGETS = {
    "rmt": Target(("squeeze_onnx/rmt/*.py",), ("tests/rmt/test_*.py",)),
    "allocators": Target(("squeeze_onnx/allocators/*.py",), ("tests/allocators/test_*.py",)),
    "graph/rewrite": Target(
        ("squeeze_onnx/graph/rewrite.py", "squeeze_onnx/graph/factor_pairs.py"),
        tuple(
            f"tests/graph/test_{name}.py"
            for name in ("rewrite", "rewrite_names", "factor_pairs", "feed_forward", "heads", "spilling")
        ),
        left_out=("tests/graph/test_heads.py::TestExports",),
    ),
}

KILLED, SURVIVED, OUT_OF_TIME, STILLBORN, UNTESTED = "killed", "survived", "out of time", "stillborn", "untested"
_STATUS = {KILLED: 10, SURVIVED: 11, STILLBORN: 12, UNTESTED: 13}
_PRELOADED = ("onnx", "onnx_ir", "scipy.integrate", "scipy.linalg", "scipy.optimize", "scipy.special", "scipy.stats")
_PYTEST = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
_BYTES = 8 * 2**30
_PATIENCE = 600
_EXAMPLES = 30  # of hypothesis: what these find, the hundred of a test run find too
_EXPECTED = {pytest.ExitCode.OK: SURVIVED, pytest.ExitCode.TESTS_FAILED: KILLED, pytest.ExitCode.INTERRUPTED: KILLED}


class _Loader(SourceFileLoader):
    """Runs ``code`` in place of what the file holds."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Finder(MetaPathFinder):
    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return spec_from_file_location(fullname, self._loader.path, loader=self._loader)


def outcome_of(mutant: Mutant | None, tests: Sequence[str], cpu_seconds: int) -> str:
    """Fork, put the mutant in the place of the module, and run ``tests`` until one fails; None stands for no change."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os._exit(_STATUS[_try(mutant, tests, cpu_seconds)])
    _, status, _ = os.wait4(process, 0)
    if os.WIFSIGNALED(status):
        return OUT_OF_TIME if os.WTERMSIG(status) == signal.SIGXCPU else KILLED
    return next((outcome for outcome, code in _STATUS.items() if code == os.WEXITSTATUS(status)), KILLED)


def _try(mutant: Mutant | None, tests: Sequence[str], cpu_seconds: int) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if mutant is not None:
        name = mutant.file.removesuffix(".py").replace("/", ".")
        code = compile(mutant.tree, str(ROOT / mutant.file), "exec")
        sys.meta_path.insert(0, _Finder(_Loader(name, str(ROOT / mutant.file), code)))
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a module that nobody can import is no mutant
            return STILLBORN
    status = pytest.main([*_PYTEST, *tests])
    return _EXPECTED.get(pytest.ExitCode(status), UNTESTED)


def prepare() -> None:
    """Import what takes long, and let hypothesis draw less, shrink nothing and not mind how long it takes."""
    for module in _PRELOADED:
        importlib.import_module(module)
    # The profiles of the tests are made from the one that is loaded when they are.
    settings.register_profile(
        "mutants",
        max_examples=_EXAMPLES,
        phases=(Phase.explicit, Phase.generate),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    loaded = [name for name in sys.modules if name.split(".")[0] in ("squeeze_onnx", "tests")]
    for name in loaded:  # each mutant imports them anew
        del sys.modules[name]


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


def examine(target: Target, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Yield each of ``mutants`` with its outcome. Raises ClickException if the tests fail without any change."""
    before = _cpu_seconds_of_children()
    if outcome_of(None, target.tests_of(mutants[0].file), _PATIENCE) != SURVIVED:
        raise click.ClickException(f"{', '.join(target.tests)}: they fail without any change")
    limit = math.ceil(1.5 * (_cpu_seconds_of_children() - before)) + 2
    for mutant in mutants:
        yield mutant, outcome_of(mutant, target.tests_of(mutant.file), limit)


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
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def run(names: Sequence[str], sample: int | None, seed: int, json_path: Path) -> None:
    """Try the mutants of each target."""
    prepare()
    known = equivalents()
    results: dict[str, Any] = {}
    for name in names:
        target = TARGETS[name]
        mutants = [mutant for file in target.paths() for mutant in mutants_of(ROOT, file)]
        chosen = mutants if sample is None else sampled(mutants, sample, seed)
        began, found = time.monotonic(), []
        for mutant, outcome in examine(target, chosen):
            found.append((mutant, outcome))
            if outcome not in (KILLED, STILLBORN):
                click.echo(f"{outcome}: {mutant.file}:{mutant.line} {mutant.scope}: {mutant.before} → {mutant.after}")
        results[name] = counted(found, known, len(mutants))
        click.echo(f"{name}: {results[name]['outcomes']} in {time.monotonic() - began:.0f} s")
    command = f"python -m tools.mutate run --sample {sample} --seed {seed}" if sample else "python -m tools.mutate run"
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
