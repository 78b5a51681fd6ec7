"""Somebody's own rows of text, a sentence a line or in a format of tables, told by the file's name or its look."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from squeeze_onnx.data.columns import Columns, tells_text
from squeeze_onnx.data.conll import looks_like_conll
from squeeze_onnx.data.headers import how_known, is_header, without_header
from squeeze_onnx.data.packed_text import telling_ending
from squeeze_onnx.data.records import Record, read_lines
from squeeze_onnx.data.table_formats import ENDINGS, FORMATS
from squeeze_onnx.support.errors import DataError

Texts = tuple[str, ...]
"""The texts of one row: a sentence, or the two sentences of a pair."""

LINES = "a sentence a line"

_LOOKED_AT = 20
"""Lines that a file is judged by whose name does not say what it is."""


@dataclass(frozen=True)
class TableFormat:
    """What a file of rows was read as: its ``kind`` and its ``columns``, None for a sentence a line.

    ``guessed`` says that nobody named them.
    """

    path: Path
    kind: str
    columns: Columns | None = None
    guessed: bool = False

    def described(self) -> str:
        """Say what the file was read as."""
        if self.columns is None:
            return f"{self.path} was read as {self.kind}"
        return f"{self.path} was read as {self.kind}: {self.columns} ({how_known(self.columns, guessed=self.guessed)})"

    def without_label(self) -> "TableFormat":
        """Return it as read for its texts alone."""
        return self if self.columns is None else replace(self, columns=self.columns.without_label())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        columns = None if self.columns is None else self.columns.to_json()
        return {"source": str(self.path), "read_as": self.kind, "columns": columns, "columns_guessed": self.guessed}


@dataclass(frozen=True)
class TextTable:
    """Rows of text, the labels beside them as the file has them, if there are any, and where each row stands.

    ``words`` are those of the first text of each row, as the file has them, or cut at blanks.
    """

    format: TableFormat
    texts: tuple[Texts, ...]
    words: tuple[Texts, ...]
    places: tuple[str, ...]
    labels: tuple[object, ...] | None = None


def read_table(path: Path, columns: Columns | None = None) -> TextTable:
    """Read the rows of ``path``; without ``columns`` they are found by common names.

    Raises DataError, naming file and line, for what cannot be read, for a blank text, and where no column looks like text.
    """
    form, rows = open_table(path, columns)
    return _table(form, rows)


def read_texts(path: Path, columns: Columns | None = None) -> TextTable:
    """Read the texts of ``path`` alone, whatever stands in its column of labels; raises as `read_table` does."""
    form, rows = open_table(path, columns)
    return _table(form.without_label(), rows)


def open_table(path: Path, columns: Columns | None = None) -> tuple[TableFormat, Iterator[Record]]:
    """Tell what ``path`` holds and return its rows as they stand; those of a sentence a line have the one name ``text``."""
    kind = _kind_of(path)
    if kind == LINES:
        if columns is not None:
            raise DataError(f"{path} holds a sentence a line and has no columns; leave out `columns` {columns}")
        return TableFormat(path, LINES), _sentences(path)
    names, records = FORMATS[kind](path)
    if not names:
        raise DataError(f"{path} has no rows")
    if columns is None and kind in ("CSV", "TSV") and not is_header(names):
        chosen, rows = without_header(path, names, records)
        return TableFormat(path, kind, chosen, guessed=True), rows
    chosen = columns or Columns.guess(names, str(path))
    return TableFormat(path, kind, chosen, guessed=columns is None), records


def _table(form: TableFormat, rows: Iterator[Record]) -> TextTable:
    columns = form.columns or Columns("text")
    texts: list[Texts] = []
    words: list[Texts] = []
    labels: list[object] = []
    places: list[str] = []
    for row in rows:
        texts.append(tuple(_text(row, column) for column in columns.texts))
        first = row.values[columns.text]
        words.append(tuple(first if isinstance(first, list) else str(first).split()))
        places.append(row.place)
        if columns.label is not None:
            labels.append(value_of(row, columns.label))
    if not texts:
        raise DataError(f"{form.path} has no rows")
    return TextTable(form, tuple(texts), tuple(words), tuple(places), tuple(labels) if columns.label else None)


def _text(row: Record, column: str) -> str:
    """Return a text; one that stands there word by word is put together."""
    value = value_of(row, column)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise DataError(f"{row.place}: {column} is {value!r}, not a text")
    if not value.strip():
        raise DataError(f"{row.place}: {column} is blank")
    return value


def value_of(row: Record, column: str) -> object:
    """Return what ``row`` has under ``column``; raises DataError if there is no such column."""
    if column not in row.values:
        raise DataError(f"{row.place} has no {column}; it has {', '.join(map(str, row.values))}")
    return row.values[column]


def _sentences(path: Path) -> Iterator[Record]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            raise DataError(f"{path} line {number} is empty; a sentence a line is expected")
        yield Record(f"{path} line {number}", {"text": line})


def _kind_of(path: Path) -> str:
    """Tell the format by the ending of the name, or else by the first lines."""
    named = ENDINGS.get(telling_ending(path))
    if named == "TSV" and looks_like_conll(_first_lines(path)):
        return "CoNLL"
    if named is not None and named != "JSON":
        return named
    if _begins_with(path, b"PAR1"):
        return "Parquet"
    lines = _first_lines(path)
    if all(_is_object(line) for line in lines) and (named is None or len(lines) > 1):
        return "JSON Lines"
    if named is not None or (lines[0].lstrip().startswith(("[", "{")) and _is_json(path)):
        return "JSON"
    return _kind_of_lines(lines)


def _first_lines(path: Path) -> Sequence[str]:
    return [line for line in read_lines(path)[:_LOOKED_AT] if line.strip()]


def _kind_of_lines(lines: Sequence[str]) -> str:
    """Tell the format by the first lines of a file that is neither Parquet nor JSON."""
    if looks_like_conll(lines):
        return "CoNLL"
    if len({line.count("\t") for line in lines}) == 1 and "\t" in lines[0]:
        return "TSV"
    return "CSV" if _looks_like_csv(lines) else LINES


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:  # told by whoever reads the lines
        return False


def _looks_like_csv(lines: Sequence[str]) -> bool:
    """Whether ``lines`` begin with a header in which a column of text has one of its common names."""
    delimiter = max(",;|", key=lines[0].count)
    try:
        header, *rows = list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return False
    named = len(header) > 1 and all(re.fullmatch(r"[\w.-]+", name) for name in header) and tells_text(header)
    # The last of the lines may be the beginning of a field over several.
    return named and {len(row) for row in rows[:-1] or rows} <= {len(header)}


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _is_json(path: Path) -> bool:
    try:
        json.loads("\n".join(read_lines(path)))
    except ValueError:
        return False
    return True
