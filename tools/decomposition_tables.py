"""Tables of what `tools.bench_decomposition` measured."""

from collections.abc import Iterable, Iterator, Sequence

from tools.bench_decomposition import TIMES
from tools.row_files import rows_of
from tools.rows import Row

SHOWN = ("mpnet-base: ffn in", "synthetic")
"""Parts of the labels of the matrices that the documentation shows."""


def number(value: float | None, digits: int) -> str:
    """Return a number as a table has it; nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"


def case_table(row: Row, times: Row | None) -> Iterator[str]:
    """Yield the lines of the table of one matrix."""
    yield f"{row.label}, rank {row.values['rank']}:"
    yield ""
    yield "| method | time, ms | times faster than scipy's SVD | error ÷ optimum | its own bound | expected ÷ optimum |"
    yield "|---|---:|---:|---:|---:|---:|"
    for method, found in row.values["methods"].items():
        timed = {} if times is None else times.values["methods"].get(method, {})
        took = (number(1e3 * timed["seconds"], 0), number(timed["speed_up"], 1)) if timed else ("", "")
        errors = number(found["error"], 4), number(found["bound"], 2), number(found["expected"], 2)
        yield f"| {method} | {' | '.join([*took, *errors])} |"
    yield ""


def roles_table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of the table of all weights."""
    found = [row.values for row in rows]
    yield f"Every weight, rank {found[0]['rank']}, the largest error ÷ optimum:"
    yield ""
    yield "| model | role | weights | RSVD | RSI adaptive |"
    yield "|---|---|---:|---:|---:|"
    for values in found:
        for role, worst in values["roles"].items():
            errors = f"{worst['worst_rsvd']:.4f} | {worst['worst_rsi']:.4f}"
            yield f"| {values['model']} | {role.replace('_', ' ')} | {worst['weights']} | {errors} |"
    yield ""


def markdown(shown: Sequence[str] = SHOWN) -> Iterator[str]:
    """Yield the tables of what was measured; of the matrices those whose label contains one of ``shown``."""
    rows = rows_of("decompositions", "decomposition")
    cases = [row for label, row in rows.items() if "methods" in row.values and not label.endswith(TIMES)]
    timed = [row.values for label, row in rows.items() if label.endswith(TIMES)]
    repeats, threads = ({each[key] for each in timed} for key in ("repeats", "threads"))
    yield (
        f"Wall time, medians of {_listed(repeats)} rounds; BLAS threads: {_listed(threads)}. An error is ‖W − Ŵ‖₂, the "
        "optimum the singular value after the last that is kept.\n"
    )
    for row in cases:
        if any(text in row.label for text in shown):
            yield from case_table(row, rows.get(row.label + TIMES))
    every = [row for row in rows.values() if "roles" in row.values]
    if every:
        yield from roles_table(every)


def _listed(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers))) or "no"
