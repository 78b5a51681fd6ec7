"""A process that answers questions, for `test_child_process`."""

import os
import signal
import sys
from typing import Any

from squeeze_onnx.runtime.child_process import pack, serve, unpack
from squeeze_onnx.support.errors import DataError


def twice(*, number: int) -> int:
    print("this is no answer")
    return 2 * number


def negative(*, arrays: dict[str, Any]) -> dict[str, Any]:
    return pack({name: -array for name, array in unpack(arrays).items()})


def refuse() -> None:
    raise DataError("row 3 of train.tsv is empty")


def fail() -> None:
    raise ZeroDivisionError("a fault of the program")


def leave() -> None:
    sys.exit(3)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve({each.__name__: each for each in (twice, negative, refuse, fail, leave, kill)})
