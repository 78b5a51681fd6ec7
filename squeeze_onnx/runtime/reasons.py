"""Why ONNX Runtime refuses: its message in one line, without what is about its own source, and what to do where that is known."""

import re
from collections.abc import Mapping

import numpy as np

_LONGEST = 600
"""Characters; of a longer message both ends are kept, for the numbers stand at the end."""

_KIND = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"/\S*onnxruntime\S*/\S+\.(?:h|cc|cpp|cu):\d+\s+")
"""A file of ONNX Runtime's source with its line."""
_SIGNATURE = re.compile(r"^[\w:<>,&*~ ]+\([^()]*\)(?: const)?(?: \[[^\]]*\])? ")
"""The function in it, where its message begins."""
_CONDITION = re.compile(r"^[^.;]*? was false\. ")
"""What was asserted there."""

_SIZES = re.compile(r"Attempting to broadcast an axis by a dimension other than 1\. (\d+) by (\d+)")
_INDEX = re.compile(r"idx=(\d+) must be within the inclusive range \[-\d+,(\d+)\]")


def reason_of(error: Exception) -> str:
    """Return the message of ONNX Runtime in one line."""
    head, status, told = _KIND.sub("", " ".join(str(error).split())).partition("Status Message: ")
    if _PLACE.match(told):
        told = _CONDITION.sub("", _SIGNATURE.sub("", _PLACE.sub("", told, count=1), count=1), count=1)
    line = f"{head}{status}{told}".strip()
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"


def way_out(reason: str, feeds: Mapping[str, np.ndarray]) -> str:
    """Say what helps, behind a colon: where texts are longer than the positions that a graph has, to cut them; else nothing."""
    longest = max((array.shape[1] for array in feeds.values() if array.ndim >= 2), default=0)
    if (sizes := _SIZES.search(reason)) is not None:
        held, given = sorted(map(int, sizes.groups()))
        fits = given == longest
    elif (index := _INDEX.search(reason)) is not None:
        held = int(index[2]) + 1
        fits = held <= int(index[1]) < longest + 2
    else:
        return ""
    if not fits or held < 2:
        return ""
    return f"; a sequence has {longest} tokens, and the graph seems to hold {held} positions: cut texts with `max_tokens` {held}"
