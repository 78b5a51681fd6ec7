"""A model in a process of its own, to be timed beside others.

Sessions of one process take processors from each other: the threads of one that has just run go on spinning while the next one is
timed. Here each model has a process, which hands its turn on only when its threads are at rest. This module is that process too
(``python -m squeeze_onnx.runtime.timing_process``).
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from squeeze_onnx.runtime.child_process import ChildProcess, pack, serve, unpack
from squeeze_onnx.runtime.idle import rest_until_idle
from squeeze_onnx.runtime.latency import Run, timed_turn
from squeeze_onnx.runtime.runner import Runner, RunnerOptions
from squeeze_onnx.runtime.runtimes import RUNTIMES
from squeeze_onnx.runtime.sessions import Feeds, ValueSpec


class TimingProcess(ChildProcess):
    """A process that holds the model at ``path``, open in a runtime of `RUNTIMES`; messages call it ``name``.

    ``inputs`` and ``facts`` are those of its `Runner`. Raises what opening it raises.
    """

    def __init__(self, name: str, path: Path, runtime: str, options: RunnerOptions) -> None:
        super().__init__(__name__, f"times {name}")
        try:
            opened = self.ask("open", path=str(path), runtime=runtime, options=asdict(options))
        except BaseException:
            self.close()
            raise
        self.inputs = tuple(ValueSpec(each["name"], each["type"], tuple(each["shape"])) for each in opened["inputs"])
        self.facts: dict[str, Any] = opened["facts"]

    def bind(self, feeds: Feeds) -> None:
        """Hold ``feeds`` as what turns run the model on, in the place of those before; raises ModelError if it does not run."""
        self.ask("bind", feeds=pack(feeds))

    def turn(self, repeats: int) -> Sequence[float]:
        """Run the model once, then ``repeats`` times timed, in milliseconds; return when its threads are at rest."""
        times: list[float] = self.ask("turn", repeats=repeats)
        return times


class _Server:
    """The process itself: one model, and what it is run on."""

    def __init__(self) -> None:
        self._runner: Runner | None = None
        self._run: Run | None = None
        self._bound = 0

    def open(self, *, path: str, runtime: str, options: dict[str, Any]) -> dict[str, Any]:
        self._runner = RUNTIMES[runtime].open(Path(path), RunnerOptions(**options))
        return {"inputs": [asdict(each) for each in self._runner.inputs], "facts": dict(self._runner.facts)}

    def bind(self, *, feeds: dict[str, Any]) -> None:
        assert self._runner is not None
        self._run = self._runner.bind(unpack(feeds), self._bound)
        self._bound += 1

    def turn(self, *, repeats: int) -> list[float]:
        assert self._run is not None
        times = timed_turn(self._run, repeats)
        rest_until_idle()
        return times


def _main() -> None:
    server = _Server()
    serve({"open": server.open, "bind": server.bind, "turn": server.turn})


if __name__ == "__main__":
    _main()
