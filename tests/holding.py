"""Another run, in a process of its own, that holds a place for as long as a test wants it to."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from squeeze_onnx.support.reservation import hidden_sibling

_HOLD = """
import sys
from squeeze_onnx.support.reservation import reserved
with reserved(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(place: Path) -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold ``place`` while the block lasts."""
    command = [sys.executable, "-c", _HOLD, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def leave_lock_of_killed_run(place: Path) -> None:
    """Hold ``place`` by another process and kill that, so that its lock file stays."""
    with held(place) as process:
        process.kill()
        process.wait()
    assert hidden_sibling(place, "lock").exists()
