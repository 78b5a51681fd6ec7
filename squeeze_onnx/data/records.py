"""Rows of a file before anybody knows what they mean: TSV, parquet and hub data sets read alike."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.data.packed_text import read_packed
from squeeze_onnx.support.errors import DataError, MissingPackageError

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Record:
    """One row. ``place`` says where it stands, in words for a message: ``dev.tsv line 7``."""

    place: str
    values: Mapping[str, object]


def read_tsv(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the rows of a TSV file: UTF-8, a header, one tab between fields, no quoting, a newline between rows.

    Raises DataError, with file and line, for a missing column and for a row with more or fewer fields than the header.
    """
    header, *lines = read_lines(path)
    names = header.split("\t")
    _require_columns(str(path), names, columns)
    for number, line in enumerate(lines, start=2):
        place = f"{path} line {number}"
        if not line.strip():
            raise DataError(f"{place} is empty; expected {len(names)} fields: {', '.join(names)}")
        fields = line.split("\t")
        if len(fields) != len(names):
            raise DataError(f"{place} has {len(fields)} fields; the header names {len(names)}: {', '.join(names)}")
        yield Record(place, dict(zip(names, fields, strict=True)))


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, which `read_packed` unpacks; raises DataError for what is empty or not UTF-8."""
    raw = read_packed(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(f"{path} line {line} is not UTF-8; save the file as UTF-8") from error
    if not text.strip():
        raise DataError(f"{path} is empty")
    # Not splitlines(): sentences hold characters that Unicode calls line ends, such as U+2028.
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Record]:
    """Yield the rows of a parquet file, of all columns if None; raises DataError for a broken file or a missing column."""
    try:
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackageError(f"{path} needs pyarrow: pip install 'squeeze-onnx[parquet]'") from error
    try:
        _require_columns(str(path), parquet.read_schema(path).names, columns or ())
        rows = parquet.read_table(path, columns=None if columns is None else list(columns)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file: {str(error).splitlines()[0]}") from error
    for number, values in enumerate(rows, start=1):
        yield Record(f"{path} row {number}", values)


def looks_like_hub_name(source: str) -> bool:
    """Say whether ``source`` could be ``owner/name`` on a hub."""
    return _HUB_NAME.fullmatch(source) is not None


def read_hub(source: str, subset: str, split: str, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the rows of ``subset``'s ``split`` of a hub data set; raises DataError when `datasets` cannot load it."""
    try:
        import datasets  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackageError(
            f"{source} is no folder here; to read it from the hub, pip install 'squeeze-onnx[hub]'"
        ) from error
    try:
        rows: Any = datasets.load_dataset(source, subset, split=split)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"the hub data set {source}, {subset}, {split} cannot be loaded: {reason}") from error
    _require_columns(f"{source} {subset} {split}", rows.column_names, columns)
    for number, values in enumerate(rows, start=1):
        yield Record(f"{source} {subset} {split} row {number}", values)


def _require_columns(place: str, names: Sequence[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in names]
    if missing:
        raise DataError(f"{place} has no column {', '.join(missing)}; it has {', '.join(names)}")
