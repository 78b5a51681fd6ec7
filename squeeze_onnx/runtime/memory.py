"""How much memory a model takes, measured in a process of its own.

The process that compares models holds all of them, and its allocator gives little back: only a fresh process says what one
model takes. This module is that process too (``python -m squeeze_onnx.runtime.memory``).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from squeeze_onnx.runtime.child_process import ChildProcess, pack, serve, unpack
from squeeze_onnx.runtime.runner import RunnerOptions
from squeeze_onnx.runtime.runtimes import RUNTIMES
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.errors import MachineError, ModelError

_STATUS = Path("/proc/self/status")
_RUNS = 2


def measure_peak_memory(model: Path, options: RunnerOptions, feeds: Feeds, *, runtime: str = "onnxruntime") -> int:
    """Return how many bytes of host memory a process needs at most to open ``model`` and run it on ``feeds``.

    What the process takes before, with Python and the runtime imported, is not counted.

    Raises ModelError with the child's reason if it fails, MachineError where the system does not tell memory.
    """
    with ChildProcess(__name__, f"measures the memory of {model}") as process:
        try:
            peak: int = process.ask(
                "peak", path=str(model), runtime=runtime, options=asdict(options), feeds=pack(feeds)
            )
        except ModelError as error:
            raise ModelError(f"the memory of {model} cannot be measured: {error}") from error
    return peak


def _peak_of_a_run(*, path: str, runtime: str, options: dict[str, Any], feeds: dict[str, Any]) -> int:
    RUNTIMES[runtime].load()
    before = _resident_bytes("VmRSS")
    run = RUNTIMES[runtime].open(Path(path), RunnerOptions(**options)).bind(unpack(feeds), 0)
    for _ in range(_RUNS - 1):  # binding is a run too
        run()
    return max(0, _resident_bytes("VmHWM") - before)


def _resident_bytes(field: str) -> int:
    """Return a field of /proc/self/status, which is of this process alone.

    `resource.getrusage` would not do: on Linux its maximum is inherited from the process that started this one.
    """
    if not _STATUS.exists():
        raise MachineError("peak memory is read from /proc/self/status, which this system lacks: add `memory=False`")
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(kibibytes)


if __name__ == "__main__":
    serve({"peak": _peak_of_a_run})
