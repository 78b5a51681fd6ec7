"""The rows of a file in each format that tables come in, before anybody knows what they mean."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze_onnx.data.conll import TAGS, WORDS, conll_rows
from squeeze_onnx.data.records import Record, read_lines, read_parquet
from squeeze_onnx.data.squad import is_squad, squad_rows
from squeeze_onnx.support.errors import DataError

Opened = tuple[Sequence[str], Iterator[Record]]
"""The names of the columns, as the first row has them, and the rows."""


def _json_lines(path: Path) -> Opened:
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        place = f"{path} line {number}"
        if line.strip():
            records.append(Record(place, _object(_parsed(line, place), place)))
    return _names(records), iter(records)


def _json(path: Path) -> Opened:
    rows = _rows(_parsed("\n".join(read_lines(path)), str(path)))
    if rows is None:
        raise DataError(f'{path} is JSON, but no list of rows: give [{{"text": …}}, …], or a row a line')
    records = [
        Record(f"{path} row {number}", _object(row, f"{path} row {number}")) for number, row in enumerate(rows, start=1)
    ]
    return _names(records), iter(records)


def _rows(document: Any) -> Sequence[Any] | None:
    """Return the rows of a list, of an object around one, of SQuAD's file, or of an object of columns; None if it has none."""
    if is_squad(document):
        return squad_rows(document)
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    columns = {name: list(value.values()) if isinstance(value, dict) else value for name, value in document.items()}
    lists = {name: value for name, value in columns.items() if isinstance(value, list)}
    of_rows = [value for value in lists.values() if value and isinstance(value[0], dict)]
    if len(of_rows) == 1:
        rows: list[Any] = of_rows[0]
        return rows
    if lists and lists.keys() == columns.keys() and len({len(value) for value in lists.values()}) == 1:
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    return None


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON: {error}") from error


def _object(row: object, place: str) -> Mapping[str, object]:
    """Return the row with names: a text alone, or a list of two, has those of `Columns`."""
    texts = [row] if isinstance(row, str) else row
    if isinstance(texts, list) and len(texts) in (1, 2) and all(isinstance(text, str) for text in texts):
        return dict(zip(("text", "text2"), texts, strict=False))
    if not isinstance(row, dict):
        raise DataError(f"{place} is {str(row)[:40]!r}, not an object with names and values")
    return row


def _names(records: Sequence[Record]) -> Sequence[str]:
    return list(records[0].values) if records else []


def _csv(path: Path) -> Opened:
    text = "\n".join(read_lines(path))
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)  # the first of them if none is there
    return _delimited(path, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def _tsv(path: Path) -> Opened:
    """One tab between fields and no quoting, as GLUE has it."""
    lines = io.StringIO("\n".join(read_lines(path)), newline="")
    return _delimited(path, csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _delimited(path: Path, rows: Any) -> Opened:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB that are the default of the whole process
    rows = _csv_errors(path, rows)
    names = next(rows)[1]

    def records() -> Iterator[Record]:
        for line, fields in rows:
            place = f"{path} line {line}"
            if len(fields) != len(names):
                raise DataError(
                    f"{place} has {len(fields)} fields; the first line has {len(names)}: {', '.join(names)}"
                )
            yield Record(place, dict(zip(names, fields, strict=True)))

    return names, records()


def _csv_errors(path: Path, rows: Any) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows that are not empty, with the number of their last line; raises DataError for what is no CSV."""
    try:
        for fields in rows:
            if fields:
                yield rows.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path} line {rows.line_num} is not CSV: {error}") from error


def _parquet(path: Path) -> Opened:
    records = list(read_parquet(path, None))
    return _names(records), iter(records)


def _conll(path: Path) -> Opened:
    return (WORDS, TAGS), conll_rows(path)


ENDINGS = {
    ".bio": "CoNLL",
    ".conll": "CoNLL",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
}

FORMATS: Mapping[str, Callable[[Path], Opened]] = {
    "JSON Lines": _json_lines,
    "JSON": _json,
    "CSV": _csv,
    "TSV": _tsv,
    "Parquet": _parquet,
    "CoNLL": _conll,
}
