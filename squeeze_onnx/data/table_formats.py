"""The rows of a file in each format that tables come in, before anybody knows what they mean."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze_onnx.data.columns import tells_text
from squeeze_onnx.data.conll import TAGS, WORDS, conll_rows
from squeeze_onnx.data.records import Record, read_lines, read_parquet
from squeeze_onnx.data.squad import is_squad, squad_rows
from squeeze_onnx.support.errors import DataError

csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB that are the default of the whole process

_DELIMITER = re.compile(r"sep=(.)", re.IGNORECASE)
"""What spreadsheets write into a line of its own before the first one."""

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
    """Return the rows of a list, of an object around one, of SQuAD's file, or as pandas orients a table; None if it has none."""
    if is_squad(document):
        return squad_rows(document)
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    of_rows = [value for value in document.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    return of_rows[0] if len(of_rows) == 1 else _rows_of_pandas(document)


def _rows_of_pandas(document: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of a table with ``orient`` split or index (an object a row, by its number or name), or of its columns."""
    names, values = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(values, list):
        whole = all(isinstance(row, list) and len(row) == len(names) for row in values)
        return [dict(zip(names, row, strict=True)) for row in values] if whole else None
    rows = list(document.values())
    if (
        rows
        and all(isinstance(row, dict) for row in rows)
        and not tells_text(list(document))
        and tells_text(list(rows[0]))
    ):
        return rows
    columns = [list(value.values()) if isinstance(value, dict) else value for value in rows]
    whole = all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1
    return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)] if whole else None


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
    lines = read_lines(path)
    skipped = 0
    delimiter = max(",;\t|", key=lines[0].count)  # the first of them if none is there
    if told := _DELIMITER.fullmatch(lines[0]):
        skipped, delimiter = 1, told[1]
    text = io.StringIO("\n".join(lines[skipped:]), newline="")
    return _delimited(path, csv.reader(text, delimiter=delimiter, strict=True), skipped)


def _tsv(path: Path) -> Opened:
    """One tab between fields, and no quoting, as GLUE has it, unless quotes stand as a writer of CSV sets them."""
    text = "\n".join(read_lines(path))
    lines = io.StringIO(text, newline="")
    if _is_quoted(text):
        return _delimited(path, csv.reader(lines, delimiter="\t", strict=True))
    return _delimited(path, csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _is_quoted(text: str) -> bool:
    """Whether fields between tabs are quoted: where a writer of CSV must do so and nowhere else, or all of the first line."""
    if '"' not in text:
        return False
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
    except csv.Error:
        return False
    written = io.StringIO()
    csv.writer(written, delimiter="\t", lineterminator="\n").writerows(rows)
    names = text.partition("\n")[0].split("\t")
    every_name = all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    return every_name or written.getvalue().strip("\n") == text.strip("\n")


def _delimited(path: Path, rows: Any, skipped: int = 0) -> Opened:
    """Return names and rows of ``rows``, before which so many lines of the file were ``skipped``."""
    rows = _csv_errors(path, rows, skipped)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} has no rows")
    names = first[1]

    def records() -> Iterator[Record]:
        for line, fields in rows:
            place = f"{path} line {line}"
            if len(fields) != len(names):
                raise DataError(
                    f"{place} has {len(fields)} fields; the first line has {len(names)}: {', '.join(names)}"
                )
            yield Record(place, dict(zip(names, fields, strict=True)))

    return names, records()


def _csv_errors(path: Path, rows: Any, skipped: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the rows that are not empty, with the number of their last line; raises DataError for what is no CSV."""
    try:
        for fields in rows:
            if fields:
                yield rows.line_num + skipped, fields
    except csv.Error as error:
        raise DataError(f"{path} line {rows.line_num + skipped} is not CSV: {error}") from error


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
