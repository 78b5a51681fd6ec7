"""What `tools.sweep` and `tools.faults` found, as tables of the documentation: ``python -m tools.trust_tables`` after either."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tools import faults, sweep
from tools.measuring import page_option
from tools.readme_tables import put_table

_NAMES = {
    "data": "onnx package, whole models",
    "node": "onnx package, single operators",
    "node-constant": "the same, all inputs but the first as constants",
    "exports": "exports of architectures",
}


def sweep_table(document: Mapping[str, Any]) -> list[str]:
    """Return a row for every place that models come from, and for all."""
    shown = [outcome for outcome in sweep.OUTCOMES if outcome not in sweep.FAULTS]
    lines = [
        f"| | models | {' | '.join(shown)} | {' | '.join(sweep.FAULTS)} |",
        f"|---|{'---|' * (1 + len(sweep.OUTCOMES))}",
    ]
    rows: dict[str, Mapping[str, int]] = {}
    for counts in document["sources"].values():
        for kind, outcomes in counts["kinds"].items():
            origin = kind.removesuffix(sweep.PREPARED)
            rows[_NAMES[origin] + (", `--dequantize --freeze-inputs`" if kind != origin else "")] = outcomes
    total = {outcome: sum(row.get(outcome, 0) for row in rows.values()) for outcome in sweep.OUTCOMES}
    for name, row in {**rows, "**all**": total}.items():
        cells = [str(row.get(outcome, 0)) for outcome in (*shown, *sweep.FAULTS)]
        lines.append(f"| {name} | {sum(row.values())} | {' | '.join(cells)} |")
    compared = sum(counts["compared"] for counts in document["sources"].values())
    return [*lines, "", f"{compared} of them could be run, and were compared with what was written of them."]


def faults_table(document: Mapping[str, Any]) -> list[str]:
    """Return a row for every command that was killed."""
    outcomes = ("killed", "output whole", "output absent", "output put aside", "ended before the kill")
    lines = [f"| | {' | '.join(outcomes)} |", f"|---|{'---|' * len(outcomes)}"]
    for name, found in document["counts"].items():
        lines.append(f"| `{name}` | {' | '.join(str(found.get(outcome, 0)) for outcome in outcomes)} |")
    return lines


@click.command()
@page_option
def main(page: Path) -> None:
    """Put both tables into the page, as far as they were measured."""
    for name, path, table in (("sweep", sweep.RESULTS, sweep_table), ("faults", faults.RESULTS, faults_table)):
        if path.exists():
            put_table(page, name, table(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
