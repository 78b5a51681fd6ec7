"""What `tools.sweep` and `tools.faults` found, as tables of the documentation."""

from collections.abc import Mapping
from typing import Any

from tools import sweep
from tools.row_files import rows_of

_NAMES = {
    "data": "onnx package, whole models",
    "node": "onnx package, single operators",
    "node-constant": "the same, all inputs but the first as constants",
    "exports": "exports of architectures",
}


def sweep_table(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a row for every place that models come from, and for all, of what was counted in each of ``sources``."""
    shown = [outcome for outcome in sweep.OUTCOMES if outcome not in sweep.FAULTS]
    lines = [
        f"| | models | {' | '.join(shown)} | {' | '.join(sweep.FAULTS)} |",
        f"|---|{'---|' * (1 + len(sweep.OUTCOMES))}",
    ]
    rows: dict[str, Mapping[str, int]] = {}
    for counts in sources.values():
        for kind, outcomes in counts["kinds"].items():
            origin = kind.removesuffix(sweep.PREPARED)
            rows[_NAMES[origin] + (", `--dequantize --freeze-inputs`" if kind != origin else "")] = outcomes
    total = {outcome: sum(row.get(outcome, 0) for row in rows.values()) for outcome in sweep.OUTCOMES}
    for name, row in {**rows, "**all**": total}.items():
        cells = [str(row.get(outcome, 0)) for outcome in (*shown, *sweep.FAULTS)]
        lines.append(f"| {name} | {sum(row.values())} | {' | '.join(cells)} |")
    compared = sum(counts["compared"] for counts in sources.values())
    return [*lines, "", f"{compared} of them could be run, and were compared with what was written of them."]


def faults_table(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a row for every command that was killed, of what became of it."""
    outcomes = ("killed", "output whole", "output absent", "output put aside", "ended before the kill")
    lines = [f"| | {' | '.join(outcomes)} |", f"|---|{'---|' * len(outcomes)}"]
    for name, found in counts.items():
        lines.append(f"| `{name}` | {' | '.join(str(found.get(outcome, 0)) for outcome in outcomes)} |")
    return lines


def sweep_markdown() -> list[str]:
    """Return the lines of the table of the sweep."""
    return sweep_table({label: row.values for label, row in rows_of("sweep", "sweep").items()})


def faults_markdown() -> list[str]:
    """Return the lines of the table of the kills."""
    [row] = rows_of("faults", "faults").values()
    return faults_table(row.values["counts"])
