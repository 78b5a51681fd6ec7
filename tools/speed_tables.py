"""The tables of speed in docs/results.md and README, made of the rows that `tools.bench_speed` wrote."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tools.row_files import rows_of
from tools.rows import Row
from tools.speed_models import BUDGETS, EXPORT, INT8, MODELS

WAYS_MODEL = "minilm-l6"
WAYS = {
    "processes": "a process for each model",
    "stopped": "one process, spinning stopped, a rest after each turn",
    "spinning": "one process, as sessions are by default",
}
_MOST_POINTS = 1.0
"""A model that loses more is not called the fastest."""

Rows = Mapping[str, Row]


def known() -> dict[str, Rows]:
    """Return the rows of every model that has some."""
    return {name: rows for name in MODELS if (rows := rows_of(name, "speed"))}


def all_rows_of_speed() -> list[Row]:
    """Return them one after the other."""
    return [row for rows in known().values() for row in rows.values()]


def ways_rows() -> list[Row]:
    """Return the rows of the ways to time."""
    return list(rows_of(WAYS_MODEL, "speed-ways").values())


def whole_tables() -> Iterator[str]:
    """Yield the lines of a table for each model."""
    return (line for name, rows in known().items() for line in whole_table(name, rows))


def short() -> Iterator[str]:
    """Yield the lines of the table of the README."""
    return short_table(known())


def ways() -> Iterator[str]:
    """Yield the lines of the table of ways to time."""
    return ways_table(ways_rows())


def whole_table(name: str, rows: Rows) -> Iterator[str]:
    """Yield the lines of the table of one model: milliseconds, speed-ups over all shapes, size and score."""
    first = rows[EXPORT]
    command = " ".join((first.command or ())[:-2])  # without its --row
    yield f"**{name}** (`python -m {command}`; {told_of(first)})"
    yield ""
    shapes = list(first.values["p50_ms"])
    heads = [*(f"{shape}, ms" for shape in shapes), "over fused fp32", "over ORT int8", "over OpenVINO int8", "MB"]
    yield f"| | {' | '.join(heads)} | {first.values['task']} {first.values['metric'] or ''} |"
    yield f"|---|{'---|' * (len(heads) + 1)}"
    for label, row in rows.items():
        times = [f"{milliseconds:.1f}" for milliseconds in row.values["p50_ms"].values()]
        ratios = [_ratio(row, opponent) for opponent in ("fused", "int8", "openvino")]
        yield f"| {' | '.join([label, *times, *ratios, _megabytes(row), _score(row)])} |"
    yield ""


def short_table(known: Mapping[str, Rows]) -> Iterator[str]:
    """Yield the lines of one table of all models, each form over the dense model in the same form; then what is fastest."""
    forms = {"fp32": "fused", "int8": "int8", "OpenVINO int8": "openvino"}
    heads = ("fp32 over fused fp32", "int8 over ONNX Runtime's int8", "OpenVINO int8 over OpenVINO's int8")
    yield f"| | {' | '.join(heads)} | int8: MB, score |"
    yield f"|---|{'---|' * (len(heads) + 1)}"
    for name, rows in known.items():
        yield f"| {name}, dense | 1 | 1 | 1 | {_megabytes(rows[INT8])}, {_score(rows[INT8])} |"
        for keep in BUDGETS:
            cells = [_ratio(rows[f"keep {keep}, {form}"], opponent) for form, opponent in forms.items()]
            small = rows[f"keep {keep}, int8"]
            yield f"| {name}, keep {keep} | {' | '.join(cells)} | {_megabytes(small)}, {_score(small)} |"
    yield ""
    yield "Geometric means over 1 × 32, 1 × 128 and 8 × 128, with their 95 % intervals."
    yield ""
    yield from (f"- {fastest(name, rows)}" for name, rows in known.items())


def fastest(name: str, rows: Rows) -> str:
    """Return which form is the fastest of those that lose at most a point, dense ones and squeezed ones."""
    good = [row for row in rows.values() if (row.values["drop_points"] or 0.0) <= _MOST_POINTS]
    dense = [row for row in good if row.label.startswith("dense")]
    first, plain = min(good, key=_mean), min(dense, key=_mean)
    best = "Of all that loses at most a point, "
    if first is plain:
        return f"{best}{plain.label} is the fastest form of {name}: squeezing gains no time there."
    ratio = f"{_mean(plain) / _mean(first):.2f} times as fast as the fastest dense one ({plain.label})"
    return f"{best}{first.label} is the fastest form of {name}, {ratio}."


def ways_table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the table of ways to time."""
    if not rows:
        return
    shapes = list(rows[0].values["processes"])
    yield f"| {rows[0].model}, medians in ms | {' | '.join(shapes)} |"
    yield f"|---|{'---|' * len(shapes)}"
    for row in rows:
        for way, told in WAYS.items():
            yield f"| {row.label}: {told} | {' | '.join(f'{row.values[way][shape]:.1f}' for shape in shapes)} |"


def told_of(row: Row) -> str:
    """Say which runtimes a row was measured with, beside ONNX Runtime."""
    return ", ".join(f"{name} {row.versions[name]}" for name in ("openvino", "nncf") if name in row.versions)


def _mean(row: Row) -> float:
    """Return the geometric mean of the medians, in milliseconds."""
    return float(np.exp(np.mean(np.log(list(row.values["p50_ms"].values())))))


def _ratio(row: Row, opponent: str) -> str:
    found: Mapping[str, Any] = row.values["against"][opponent]
    low, high = found["speedup_interval"]
    return f"{found['speedup']:.2f} ({low:.2f} … {high:.2f})"


def _megabytes(row: Row) -> str:
    return f"{row.values['bytes'] / 1e6:.1f}"


def _score(row: Row) -> str:
    if row.values["score"] is None:
        return "–"
    low, high = row.values["drop_interval"]
    return f"{row.values['score']:.4f} (drop {row.values['drop_points']:.2f}: {low:.2f} … {high:.2f})"
