"""A process apart that is asked in lines of JSON and answers in lines of JSON.

What it holds, its memory and its threads, is its own; while it waits for the next question it takes no time.
"""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import numpy as np

from squeeze_onnx.support import errors
from squeeze_onnx.support.errors import MachineError, SqueezeError

_SECONDS_TO_END = 30
_LONGEST_REASON = 300

Handler = Callable[..., Any]
"""Answers a question, whose arguments and whose result are plain values."""


class ChildProcess:
    """A process that runs ``python -m module``, where the module calls `serve`; ``what`` it does completes "the process that"."""

    def __init__(self, module: str, what: str) -> None:
        self._what = what
        self._log = TemporaryFile()  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def number(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, question: str, **arguments: Any) -> Any:
        """Return the answer to ``question``.

        Raises the SqueezeError that answering it raised, MachineError if the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"question": question, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line.endswith("\n"):
            raise MachineError(f"the process that {self._what} {self._end()}")
        answer = json.loads(line)
        if "error" in answer:
            raise _error_called(answer["error"])(answer["message"])
        return answer["result"]

    def close(self) -> None:
        """End the process, which it does by itself once nothing more can be asked."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was still to be written has no reader any more
                    stream.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _end(self) -> str:
        """Say how the process ended."""
        status = self._process.wait()
        if status < 0:
            name = signal.Signals(-status).name
            return f"was ended by {name}" + (", as happens where memory runs out" if name == "SIGKILL" else "")
        self._log.seek(0)
        reason = " ".join(self._log.read().decode(errors="replace").strip().rpartition("\n")[2].split())
        return f"ended with status {status}" + (f": {reason[:_LONGEST_REASON]}" if reason else "")


def serve(handlers: Mapping[str, Handler]) -> None:
    """Answer questions on standard input by ``handlers``, by name, until there are no more.

    What else is printed goes to standard error.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                answer = {"result": handlers[asked["question"]](**asked["arguments"])}
            except SqueezeError as error:
                answer = {"error": type(error).__name__, "message": str(error)}
            print(json.dumps(answer), file=answers, flush=True)


def pack(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return ``arrays`` as plain values."""
    return {
        name: {
            "dtype": array.dtype.str,
            "shape": array.shape,
            "data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii"),
        }
        for name, array in arrays.items()
    }


def unpack(packed: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of which `pack` made ``packed``."""
    return {
        name: np.frombuffer(base64.b64decode(array["data"]), np.dtype(array["dtype"])).reshape(array["shape"]).copy()
        for name, array in packed.items()
    }


def _error_called(name: str) -> type[SqueezeError]:
    found = getattr(errors, name, SqueezeError)
    return found if isinstance(found, type) and issubclass(found, SqueezeError) else SqueezeError
