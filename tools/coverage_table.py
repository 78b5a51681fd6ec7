"""What part of the lines and branches of each folder the tests run, as `coverage json` says it.

    coverage run -m pytest && coverage combine --quiet && coverage json -o coverage.json
    python -m tools.coverage_table coverage.json

Keeps the sums in tests/measured/coverage.json and puts them into docs/testing.md.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.support.environment import environment
from tools.readme_tables import put_table
from tools.row_files import ROOT

RESULTS = ROOT / "tests" / "measured" / "coverage.json"
PAGE = ROOT / "docs" / "testing.md"


@dataclass(frozen=True)
class Covered:
    """How many lines and branches there are, and how many of them ran."""

    lines: int = 0
    lines_run: int = 0
    branches: int = 0
    branches_run: int = 0

    def __add__(self, other: "Covered") -> "Covered":
        mine, theirs = asdict(self), asdict(other)
        return Covered(**{name: mine[name] + theirs[name] for name in mine})

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> "Covered":
        """Read a ``summary`` of coverage's."""
        names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
        return cls(*(int(summary[name]) for name in names))


def by_folder(files: Mapping[str, Any]) -> dict[str, Covered]:
    """Sum the ``files`` of coverage's report by the folder in squeeze_onnx that they lie in, ``.`` for none."""
    folders: dict[str, Covered] = defaultdict(Covered)
    for name, found in files.items():
        within = name.split("squeeze_onnx/")[-1]
        folders[within.split("/")[0] if "/" in within else "."] += Covered.of(found["summary"])
    return dict(sorted(folders.items()))


def rows(folders: Mapping[str, Covered]) -> Iterator[str]:
    """The table."""
    yield "| | lines | run | branches | run |"
    yield "|---" * 5 + "|"
    for name, covered in {**folders, "all": sum(folders.values(), Covered())}.items():
        cells = [f"`{name}`", str(covered.lines), _share(covered.lines_run, covered.lines)]
        cells += [str(covered.branches), _share(covered.branches_run, covered.branches)]
        yield "| " + " | ".join(cells) + " |"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
def main(report: Path) -> None:
    """Keep the sums of coverage's REPORT, and put them into the page."""
    folders = by_folder(json.loads(report.read_text(encoding="utf-8"))["files"])
    told = {"environment": environment(), "folders": {name: asdict(covered) for name, covered in folders.items()}}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    put_table(PAGE, "coverage", rows(folders))


if __name__ == "__main__":
    main()
