"""Somebody's own rows of text: a sentence a line, JSON Lines, JSON, CSV, TSV or Parquet, told by the file's name or its look."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.records import Record, read_lines, read_parquet
from squeeze_onnx.support.errors import DataError

Texts = tuple[str, ...]
"""The texts of one row: a sentence, or the two sentences of a pair."""

LINES = "a sentence a line"

_LOOKED_AT = 20
"""Lines that a file is judged by whose name does not say what it is."""


@dataclass(frozen=True)
class TextTable:
    """Rows of text, and the labels beside them if there are any, each as the file has it.

    ``kind`` names the format, ``columns`` what was read of it (None for a sentence a line), ``guessed`` whether nobody said so.
    """

    path: Path
    kind: str
    texts: tuple[Texts, ...]
    labels: tuple[object, ...] | None = None
    columns: Columns | None = None
    guessed: bool = False

    def described(self) -> str:
        """Say what the file was read as."""
        if self.columns is None:
            return f"{self.path} was read as {self.kind}"
        how = "columns found by their names" if self.guessed else "columns as named"
        return f"{self.path} was read as {self.kind}, {self.columns} ({how}; --columns names others)"


def read_table(path: Path, columns: Columns | None = None) -> TextTable:
    """Read the rows of ``path``; without ``columns`` they are found by common names.

    Raises DataError, naming file and line, for what cannot be read, for a blank text, and where no column looks like text.
    """
    kind = _kind_of(path)
    if kind == LINES:
        if columns is not None:
            raise DataError(f"{path} holds a sentence a line and has no columns; leave out --columns {columns}")
        return TextTable(path, LINES, tuple((line,) for line in _sentences(path)))
    names, records = _READERS[kind](path)
    if columns is None and kind in ("CSV", "TSV") and _lacks_header(names):
        chosen, rows = _without_header(path, names, records)
    else:
        chosen, rows = columns or Columns.guess(names, str(path)), records
    return _table(path, kind, chosen, rows, guessed=columns is None)


def _table(path: Path, kind: str, columns: Columns, rows: Iterator[Record], *, guessed: bool) -> TextTable:
    texts: list[Texts] = []
    labels: list[object] = []
    for row in rows:
        texts.append(tuple(_text(row, column) for column in columns.texts))
        if columns.label is not None:
            labels.append(_value(row, columns.label))
    if not texts:
        raise DataError(f"{path} has no rows")
    return TextTable(path, kind, tuple(texts), tuple(labels) if columns.label else None, columns, guessed)


def _text(row: Record, column: str) -> str:
    text = _value(row, column)
    if not isinstance(text, str):
        raise DataError(f"{row.place}: {column} is {text!r}, not a text")
    if not text.strip():
        raise DataError(f"{row.place}: {column} is blank")
    return text


def _value(row: Record, column: str) -> object:
    if column not in row.values:
        raise DataError(f"{row.place} has no {column}; it has {', '.join(map(str, row.values))}")
    return row.values[column]


def _sentences(path: Path) -> list[str]:
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DataError(f"{path} line {number} is empty; a sentence a line is expected")
    return lines


def _kind_of(path: Path) -> str:
    """Tell the format by the ending of the name, or else by the first lines."""
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    lines = [line for line in read_lines(path)[:_LOOKED_AT] if line.strip()]
    if all(_is_object(line) for line in lines):
        return "JSON Lines"
    if lines[0].lstrip().startswith("[") and _is_json(path):
        return "JSON"
    if len({line.count("\t") for line in lines}) == 1 and "\t" in lines[0]:
        return "TSV"
    header = next(csv.reader(lines[:1]))
    widths = {len(row) for row in csv.reader(lines)}
    named = len(header) > 1 and all(re.fullmatch(r"\w+", name) for name in header) and not _lacks_header(header)
    return "CSV" if named and len(widths) == 1 else LINES


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


def _lacks_header(names: Sequence[str]) -> bool:
    """Whether none of ``names`` is one that a column of text goes by."""
    try:
        Columns.guess(names, "")
    except DataError:
        return True
    return False


def _without_header(path: Path, first: Sequence[str], rest: Iterator[Record]) -> tuple[Columns, Iterator[Record]]:
    """Take one or two columns without a header as a text or a pair; the first line is a row then."""
    if len(first) > 2:
        Columns.guess(first, str(path))  # raises: which of many columns is text, nobody can tell
    names = ("column 1", "column 2")[: len(first)]

    def rows() -> Iterator[Record]:
        yield Record(f"{path} line 1", dict(zip(names, first, strict=True)))
        for record in rest:
            yield Record(record.place, dict(zip(names, record.values.values(), strict=True)))

    return Columns(*names), rows()


def _json_lines(path: Path) -> tuple[Sequence[str], Iterator[Record]]:
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        place = f"{path} line {number}"
        if line.strip():
            records.append(Record(place, _object(_parsed(line, place), place)))
    return _names(records), iter(records)


def _json(path: Path) -> tuple[Sequence[str], Iterator[Record]]:
    document = _parsed("\n".join(read_lines(path)), str(path))
    lists = [value for value in document.values() if isinstance(value, list)] if isinstance(document, dict) else []
    rows = document if isinstance(document, list) else lists[0] if len(lists) == 1 else None
    if rows is None:
        raise DataError(f'{path} is JSON, but no list of rows: give [{{"text": …}}, …], or a row a line')
    records = [
        Record(f"{path} row {number}", _object(row, f"{path} row {number}")) for number, row in enumerate(rows, start=1)
    ]
    return _names(records), iter(records)


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}") from error


def _object(row: object, place: str) -> Mapping[str, object]:
    if not isinstance(row, dict):
        raise DataError(f"{place} is {str(row)[:40]!r}, not an object with names and values")
    return row


def _names(records: Sequence[Record]) -> Sequence[str]:
    return list(records[0].values) if records else []


def _csv(path: Path) -> tuple[Sequence[str], Iterator[Record]]:
    text = "\n".join(read_lines(path))
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    return _delimited(path, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _tsv(path: Path) -> tuple[Sequence[str], Iterator[Record]]:
    """One tab between fields and no quoting, as GLUE has it."""
    lines = io.StringIO("\n".join(read_lines(path)), newline="")
    return _delimited(path, csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _delimited(path: Path, rows: Any) -> tuple[Sequence[str], Iterator[Record]]:
    names = next(rows)

    def records() -> Iterator[Record]:
        try:
            for fields in rows:
                place = f"{path} line {rows.line_num}"
                if len(fields) != len(names):
                    raise DataError(
                        f"{place} has {len(fields)} fields; the first line has {len(names)}: {', '.join(names)}"
                    )
                yield Record(place, dict(zip(names, fields, strict=True)))
        except csv.Error as error:
            raise DataError(f"{path} line {rows.line_num} is not CSV: {error}") from error

    return names, records()


def _parquet(path: Path) -> tuple[Sequence[str], Iterator[Record]]:
    records = list(read_parquet(path, None))
    return _names(records), iter(records)


_ENDINGS = {
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
}

_READERS: Mapping[str, Callable[[Path], tuple[Sequence[str], Iterator[Record]]]] = {
    "JSON Lines": _json_lines,
    "JSON": _json,
    "CSV": _csv,
    "TSV": _tsv,
    "Parquet": _parquet,
}
