"""Text files as they come over a network: gzip, bzip2 and xz are unpacked by what a file begins with, not by its name."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath

from squeeze_onnx.support.errors import DataError
from squeeze_onnx.support.git_lfs import refuse_pointer

PACKED = (".gz", ".bz2", ".xz")
"""What a name ends with behind the ending that tells the format."""

_UNPACKERS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_NO_TEXT: Mapping[bytes, str] = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
    b"ARROW1": "an Arrow file",
    b"\xff\xff\xff\xff": "an Arrow stream",
    b"SQLite format 3": "a database",
    b"%PDF": "a PDF",
}
"""Files that begin like this are told by name; what else has a zero byte is no text either."""

_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""UTF-16 begins so, and is full of zero bytes; it is text, if not UTF-8."""


def read_packed(path: Path) -> bytes:
    """Return what the file ``path`` holds, unpacked; raises DataError if it cannot be read or unpacked, or is no text at all."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    refuse_pointer(path, DataError)
    unpack = next((found for magic, found in _UNPACKERS.items() if raw.startswith(magic)), None)
    if unpack is not None:
        try:
            raw = unpack(raw)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise DataError(f"{path} cannot be unpacked: {error}") from error
    kind = next((found for magic, found in _NO_TEXT.items() if raw.startswith(magic)), None)
    if kind is None and b"\0" in raw and not raw.startswith(_WIDE):
        kind = f"no text: line {raw[: raw.index(0)].count(10) + 1} has a zero byte"
    if kind is not None:
        raise DataError(f"{path} is {kind}: save its rows as JSON Lines, CSV, TSV, Parquet or a sentence a line")
    return raw


def telling_ending(name: str | Path) -> str:
    """Return the ending that tells the format of a file of this ``name``, in lower case, whatever it is packed by."""
    path = PurePath(name)
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).suffix.lower()
