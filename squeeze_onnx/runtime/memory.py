"""How much memory a model takes, measured in a process of its own.

The process that compares models holds all of them, and its allocator gives little back: only a fresh process says what one
model takes. This module is that process too (``python -m squeeze_onnx.runtime.memory``).
"""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.sessions import Feeds, open_session
from squeeze_onnx.support.errors import MachineError, ModelError, SqueezeError

_STATUS = Path("/proc/self/status")
_RUNS = 2


def measure_peak_memory(model: Path, provider: str, feeds: Feeds, *, threads: int | None = None) -> int:
    """Return how many bytes of host memory a process needs at most to open ``model`` and run it on ``feeds``.

    What the process takes before, with Python and onnxruntime imported, is not counted.

    Raises ModelError with the child's reason if it fails, MachineError where the system does not tell memory.
    """
    packed = io.BytesIO()
    np.savez(packed, *feeds.values())  # in order, for savez has parameters that an input may be called like
    request = json.dumps({"names": list(feeds), "model": str(model), "provider": provider, "threads": threads})
    done = subprocess.run(
        [sys.executable, "-m", __name__, request], input=packed.getvalue(), capture_output=True, check=False
    )
    if done.returncode == 0:
        return int(done.stdout)
    reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise ModelError(f"the memory of {model} cannot be measured: {reason or f'status {done.returncode}'}")


def _peak_of_a_run(model: str, provider: str, threads: int | None, feeds: Feeds) -> int:
    import_onnxruntime()
    before = _resident_bytes("VmRSS")
    session = open_session(model, provider, threads=threads)
    for _ in range(_RUNS):
        session.run(None, feeds)
    return max(0, _resident_bytes("VmHWM") - before)


def _resident_bytes(field: str) -> int:
    """Return a field of /proc/self/status, which is of this process alone.

    `resource.getrusage` would not do: on Linux its maximum is inherited from the process that started this one.
    """
    if not _STATUS.exists():
        raise MachineError("peak memory is read from /proc/self/status, which this system lacks: add --no-memory")
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(kibibytes)


def _main() -> None:
    request = json.loads(sys.argv[1])
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as arrays:
        feeds = dict(zip(request.pop("names"), arrays.values(), strict=True))
    try:
        peak = _peak_of_a_run(**request, feeds=feeds)
    except SqueezeError as error:
        sys.exit(str(error))
    print(peak)


if __name__ == "__main__":
    _main()
