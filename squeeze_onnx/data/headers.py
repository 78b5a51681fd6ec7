"""Whether the first line of a CSV or TSV file names its columns, and what they are where it does not."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from squeeze_onnx.data.columns import Columns, tells_text
from squeeze_onnx.data.records import Record
from squeeze_onnx.support.errors import DataError

_MOST_CLASSES = 20
_ROWS_A_CLASS = 5
"""A column of single words is one of labels if there are as many rows for each of them, and no more than so many."""


_UNNAMED = ("column 1", "column 2")


def how_known(columns: Columns, *, guessed: bool) -> str:
    """Say why these ``columns`` are read, and how to name others."""
    if columns.text in _UNNAMED:
        return "no line names the columns; a first line such as text,label would"
    return "columns found by their names; `columns` names others" if guessed else "columns as named"


def is_header(names: Sequence[str]) -> bool:
    """Say whether ``names``, the first line, are names of columns: one that texts go by, or words without blanks or numbers."""
    words = all(re.fullmatch(r"[A-Za-z_][\w.-]*", name.strip()) for name in names)
    return tells_text(names) or (words and len(set(names)) == len(names))


def without_header(path: Path, first: Sequence[str], rest: Iterator[Record]) -> tuple[Columns, Iterator[Record]]:
    """Take one or two columns without a header as a text, a pair, or a text and its label; the first line is a row then.

    Raises DataError for more columns: which of them is text, nobody can tell.
    """
    if len(first) > 2:
        raise DataError(
            f"{path} has {len(first)} columns and no header that says which holds text: write the names of its columns into "
            "the first line, such as text,label"
        )
    names = _UNNAMED[: len(first)]
    rows = [Record(f"{path} line 1", dict(zip(names, first, strict=True)))]
    rows += [Record(record.place, dict(zip(names, record.values.values(), strict=True))) for record in rest]
    return _columns(names, rows), iter(rows)


def _columns(names: Sequence[str], rows: Sequence[Record]) -> Columns:
    labels = [name for name in names if len(names) == 2 and _holds_labels([str(row.values[name]) for row in rows])]
    if len(labels) == 1:
        return Columns(next(name for name in names if name not in labels), None, labels[0])
    return Columns(*names)


def _holds_labels(values: Sequence[str]) -> bool:
    """Whether ``values`` are numbers, or few different words."""
    if all(re.fullmatch(r"[-+]?\d+(\.\d+)?", value.strip()) for value in values):
        return True
    different = set(values)
    words = all(re.fullmatch(r"\S+", value.strip()) for value in different)
    return words and len(different) <= _MOST_CLASSES and len(values) >= _ROWS_A_CLASS * len(different)
