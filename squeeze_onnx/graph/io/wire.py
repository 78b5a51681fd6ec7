"""protobuf's encoding, as far as messages are taken apart and put together around weights that are not to be copied.

A message is no more than its fields, in any order: a tag, which says number and kind, and the content, preceded by its length if
that is variable (https://protobuf.dev/programming-guides/encoding/).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from google.protobuf.message import DecodeError

Content = bytes | mmap

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""The kinds that ONNX knows; one of strings, bytes and messages is delimited by its length."""

FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
LONGEST_VARINT = 10


@dataclass(frozen=True)
class Field:
    """A field from its tag at ``start`` to ``end``; its content begins at ``value``."""

    number: int
    kind: int
    start: int
    value: int
    end: int

    def is_message(self, number: int) -> bool:
        """Whether it is field ``number``, of a kind that is delimited by its length."""
        return self.number == number and self.kind == LENGTH_DELIMITED


def fields(content: Content, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message from ``start`` to ``end``. Raises DecodeError where there is none."""
    while start < end:
        tag, value = _decoded(content, start, end)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, stop = _decoded(content, value, end)
        elif kind == LENGTH_DELIMITED:
            length, value = _decoded(content, value, end)
            stop = value + length
        elif kind in FIXED_SIZES:
            stop = value + FIXED_SIZES[kind]
        else:
            raise DecodeError(f"wire type {kind} at byte {start}")
        if number == 0 or stop > end:
            raise DecodeError(f"no field at byte {start}")
        yield Field(number, kind, start, value, stop)
        start = stop


def _decoded(content: Content, start: int, end: int) -> tuple[int, int]:
    """Return the number from ``start``, in groups of seven bits, the lowest first, and where it ends."""
    number = 0
    for position in range(start, min(end, start + LONGEST_VARINT)):
        byte = content[position]
        number |= (byte & 0x7F) << 7 * (position - start)
        if byte < 0x80:
            return number, position + 1
    raise DecodeError(f"no number at byte {start}")


def delimiter(number: int, length: int) -> bytes:
    """Return what precedes ``length`` bytes as the content of field ``number``: tag and length."""
    return _encoded(number << 3 | LENGTH_DELIMITED) + _encoded(length)


def _encoded(number: int) -> bytes:
    """Encode a number in groups of seven bits, the lowest first, the top bit set in all bytes but the last."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
