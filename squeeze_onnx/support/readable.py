"""Numbers as people read and write them."""

import re

from squeeze_onnx.support.errors import OptionError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def bytes_of(written: str | int, option: str) -> int:
    """Return the bytes that ``written`` means: a number, or one with a unit as in 10MB or 1.5 GiB.

    Raises OptionError, naming the ``option``, for anything else and for less than one byte.
    """
    match = _SIZE.fullmatch(str(written).strip())
    unit = match[2].upper() if match else ""
    unit = f"{unit}B" if unit in ("K", "M", "G") else unit
    if match is None or unit not in _UNITS or float(match[1]) * _UNITS[unit] < 1:
        raise OptionError(f"`{option}` is a size such as 10MB, 500kB or a number of bytes; got {written!r}")
    return int(float(match[1]) * _UNITS[unit])


def written_bytes(count: int) -> str:
    """Return ``count`` as `bytes_of` reads it back, in the largest unit that loses nothing."""
    for unit in ("GB", "MB", "kB"):
        if count % _UNITS[unit.upper()] == 0:
            return f"{count // _UNITS[unit.upper()]}{unit}"
    return str(count)


def readable_bytes(count: float) -> str:
    """Bytes as people read them, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def readable_seconds(seconds: float) -> str:
    """Seconds as people read them: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
