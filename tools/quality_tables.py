"""Tables of what `tools.bench_quality` measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from tools.measuring import BUDGETS, TASKS, known_rows
from tools.quality_runs import RUNS, TAUGHT
from tools.rows import Row

EMBEDDED = ("stsb",)
"""The tasks that are scored on embeddings here, for which ``auto`` is `whiten`; for classes it is `fisher`."""

CLASSIFIERS = ("minilm-l6-MRPC", "minilm-l6-SST-2", "minilm-l6-CoLA")
"""The fine-tuned models that means over tasks are of."""

FAMILIES = ("whiten", "fisher", "distilled")
TAUGHT_TO_A_THIRD = ("distilled, keep 0.33", "distilled, 4,096 rows, keep 0.33")
PLAIN = "SVD, keep 0.5"

Rows = dict[str, Mapping[str, Any]]


def _measured() -> Iterator[tuple[str, Rows]]:
    """Yield model and values by label, in the order of `RUNS`."""
    for name, rows in known_rows("quality"):
        yield name, {run.label: rows[run.label].values for run in RUNS if run.label in rows}


def markdown() -> Iterator[str]:
    """Yield the lines of one table a model."""
    for name, rows in _measured():
        first = next(iter(rows.values()))
        yield f"**{name}**, {TASKS[name]}, {first['metric']}: dense {first['baseline']:.4f}"
        yield ""
        columns = ("drop in points (95 % interval)", "output cosine", "same predictions", "eligible kept", "file")
        yield f"| | {first['metric']} | {' | '.join(columns)} | FFN: effective rank, weight cosine |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_line(label, row) for label, row in rows.items())
        yield ""


def classes() -> Iterator[str]:
    """Yield the lines of one table of means over `CLASSIFIERS`, of what was measured on all of them."""
    known = dict(_measured())
    yield f"| means over {', '.join(CLASSIFIERS)} | {' | '.join(f'keep {keep}' for keep in TAUGHT)} |"
    yield f"|---|{'---|' * len(TAUGHT)}"
    for family in FAMILIES:
        cells = (_mean([known[name].get(f"{family}, keep {keep}") for name in CLASSIFIERS]) for keep in TAUGHT)
        yield f"| {family} | {' | '.join(cells)} |"


def _mean(rows: Sequence[Mapping[str, Any] | None]) -> str:
    found = [row for row in rows if row is not None]
    if len(found) < len(rows):
        return "–"
    drop, agreement = (mean(row[key] for row in found) for key in ("drop_points", "agreement"))
    return f"drop {drop:.2f}, {100 * agreement:.1f} % the same"


def headline() -> Iterator[str]:
    """Yield the lines of one table of all models that were squeezed by what ``auto`` stands for, a model a line."""
    titles = [*(f"keep {keep}" for keep in BUDGETS), TAUGHT_TO_A_THIRD[0], PLAIN]
    yield f"| | dense | by | {' | '.join(titles)} |"
    yield f"|---|---|---|{'---|' * len(titles)}"
    for name, rows in _measured():
        labels = _in_headline(name, rows)
        if labels[0] in rows:
            first = next(iter(rows.values()))
            cells = ("–" if label not in rows else _score(rows[label]) for label in labels)
            task = f"{TASKS[name]} {first['metric']}"
            yield f"| {name}, {task} | {first['baseline']:.4f} | {_usual(name)} | {' | '.join(cells)} |"


def _usual(name: str) -> str:
    return "whiten" if TASKS[name] in EMBEDDED else "fisher"


def _in_headline(name: str, rows: Iterable[str]) -> list[str]:
    """Return the labels of one line, of those that were measured (``rows``): distilled on all the text, or else on half."""
    taught = next((label for label in TAUGHT_TO_A_THIRD if label in rows), TAUGHT_TO_A_THIRD[0])
    return [*(f"{_usual(name)}, keep {keep}" for keep in BUDGETS), taught, PLAIN]


def headline_rows() -> list[Row]:
    """Return what `headline` is made of."""
    known = known_rows("quality")
    lines = ([rows[label] for label in _in_headline(name, rows) if label in rows] for name, rows in known)
    return [row for line in lines if len(line) > 1 for row in line]


def classes_rows() -> list[Row]:
    """Return what `classes` is made of."""
    labels = [f"{family}, keep {keep}" for family in FAMILIES for keep in TAUGHT]
    known = dict(known_rows("quality"))
    return [known[name][label] for name in CLASSIFIERS for label in labels if label in known[name]]


def _score(row: Mapping[str, Any]) -> str:
    low, high = row["drop_interval"]
    return f"{row['candidate']:.4f} (drop {row['drop_points']:.2f}: {low:.2f} … {high:.2f})"


def _line(label: str, row: Mapping[str, Any]) -> str:
    size = row["size"]
    low, high = row["drop_interval"]
    ffn = "–"
    if row["ffn_weight_cosine"] is not None:
        ffn = f"−{100 * row['ffn_effective_rank_reduction']:.0f} %, {row['ffn_weight_cosine']:.2f}"
    cells = (
        label,
        f"{row['candidate']:.4f}",
        f"{row['drop_points']:.2f} ({low:.2f} … {high:.2f})",
        f"{row['cosine_similarity']:.3f}",
        "–" if row["agreement"] is None else f"{100 * row['agreement']:.1f} %",
        f"{100 * size['kept_eligible_parameters'] / size['eligible_parameters']:.1f} %",
        f"−{100 * (1 - size['optimized_bytes'] / size['baseline_bytes']):.1f} %",
        ffn,
    )
    return f"| {' | '.join(cells)} |"
