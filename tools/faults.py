"""Kill -9 at random moments: is the output absent or whole, the input untouched, and does the next run set all right?

    python -m tools.faults [--kills 200] [--seed 0]

A tiny model is squeezed, distilled and packaged, over and over. Every other run is killed after a random time, the ones between
right before a random access to its files, which finds the narrow moments: before a rename, or half-way through a removal.
After each kill the same command runs once more; it must exit with 0, write the very bytes of a run that nobody killed, and
leave nothing else behind.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice, permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from squeeze_onnx.cli import main as squeeze_onnx
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.workflows.packaging.verification import verify
from tests.folders import snapshot
from tests.tiny_encoder import WORDS, encoder_model, write_model_folder
from tools.measuring import Clock, Recorder, row_options
from tools.tolerances import EXACT

_PRELOADED = (
    "squeeze_onnx.workflows.optimize",
    "squeeze_onnx.workflows.search",
    "squeeze_onnx.workflows.packaging.bundle",
)
"""Imported once; every run is forked from there. Not onnxruntime, which does not outlive a fork."""
_LIMIT_SECONDS = 1800.0
_WRITES = frozenset({"os.rename", "os.mkdir", "os.rmdir", "os.remove"})


class FaultError(Exception):
    """What must never happen did."""


class ModelFolder:
    """What `optimize` writes."""

    @staticmethod
    def check(output: Path) -> None:
        """Raise FaultError unless the model at ``output`` opens and is the one that its report is about."""
        report = json.loads((output / "report.json").read_text(encoding="utf-8"))
        if report["files"]["optimized"]["model.onnx"] != ModelFolder.digest(output):
            raise FaultError(f"{output}: report.json is about another model")
        open_session(output / "model.onnx")

    @staticmethod
    def digest(output: Path) -> str:
        """Return the SHA-256 of the model: reports tell the time."""
        return hashlib.sha256((output / "model.onnx").read_bytes()).hexdigest()


class BundleOf:
    """What `package` writes."""

    @staticmethod
    def check(output: Path) -> None:
        """Raise BundleError unless the bundle is whole, and ModelError unless it runs."""
        verify(output)

    @staticmethod
    def digest(output: Path) -> str:
        """Return the SHA-256 of everything."""
        content = {"": output.read_bytes()} if output.is_file() else snapshot(output)
        return hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()


@dataclass(frozen=True)
class Scenario:
    """A command of squeeze-onnx, given in a folder that holds ``model`` and ``text``, and what it writes there.

    ``replaces`` lets every run find the output of one before.
    """

    arguments: str
    output: str
    kind: type[ModelFolder] | type[BundleOf]
    replaces: bool = False

    def argv(self) -> list[str]:
        """Return the words of the command line."""
        return ["squeeze-onnx", *self.arguments.split(), "-o", self.output, "--force", "--quiet"]


_SQUEEZE = (
    "optimize model --method svd --keep 0.5 --exclude query --exclude key --exclude value --exclude attention_output"
)
_DISTILL = "--calibration text --no-refit --distill 8 --checkpoint-minutes 0"

SCENARIOS = {
    "optimize": Scenario(_SQUEEZE, "out", ModelFolder),
    "optimize --force": Scenario(_SQUEEZE, "out", ModelFolder, replaces=True),
    "distill": Scenario(f"{_SQUEEZE} {_DISTILL}", "out", ModelFolder),
    "package": Scenario("package model", "bundle", BundleOf),
    "package --force": Scenario("package model --form onnx", "bundle.zip", BundleOf, replaces=True),
}


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed: what it wrote, how long it took, and how often it touched its files."""

    digest: str
    seconds: float
    accesses: int


class Killing:
    """Runs scenarios in the empty ``folder`` and kills them; ``counts`` says what became of it."""

    def __init__(self, folder: Path, seed: int, names: Sequence[str]) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        self._folder, self._kept = folder / "work", folder / "kept"
        self._kept.mkdir()
        self._random = np.random.default_rng(seed)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__, *_PRELOADED])
        write_model_folder(self._folder / "model", encoder_model(classifier=True))
        sentences = islice(permutations(WORDS, 2), 60)
        (self._folder / "text").write_text("\n".join(map(" ".join, sentences)), encoding="utf-8")
        self._input = snapshot(self._folder)
        self._whole = {name: self._run_whole(name) for name in names}

    def kill(self, name: str, *, by_time: bool) -> None:
        """Kill one run, look at what it left, and let the next one end; FaultError if anything is not as it must be."""
        scenario, whole = SCENARIOS[name], self._whole[name]
        if scenario.replaces:
            _copy(self._kept / name, self._folder / scenario.output)
        if by_time:
            moment = float(self._random.uniform(0, whole.seconds))
            process, _ = self._start(scenario, fatal=None)
            process.join(moment)
            process.kill()
        else:
            moment = int(self._random.integers(whole.accesses)) + 1
            process, _ = self._start(scenario, fatal=moment)
        process.join(_LIMIT_SECONDS)
        where = f"{name}, killed {f'after {moment:.3f} s' if by_time else f'before access {moment}'}"
        if process.exitcode != -signal.SIGKILL:
            self.counts[name]["ended before the kill"] += 1
        else:
            self.counts[name]["killed"] += 1
            self.counts[name][self._look(scenario, where)] += 1
        self._finish(scenario)
        self._compare(scenario, whole, where)
        _remove(self._folder / scenario.output)

    def _look(self, scenario: Scenario, where: str) -> str:
        """Say what the killed run left; FaultError if that is half an output or none of two."""
        output = self._folder / scenario.output
        now = snapshot(self._folder)
        if {path: now.get(path) for path in self._input} != self._input:
            raise FaultError(f"{where}: the input has changed")
        if output.exists():
            scenario.kind.check(output)
            return "output whole"
        aside = list(self._folder.glob(f".{scenario.output}.replaced-*"))
        if scenario.replaces and not aside:
            raise FaultError(f"{where}: the old output is lost")
        for old in aside:
            scenario.kind.check(old)
        return "output put aside" if aside else "output absent"

    def _compare(self, scenario: Scenario, whole: Whole, where: str) -> None:
        """Raise FaultError unless the folder is what it is after a run that nobody killed."""
        digest = scenario.kind.digest(self._folder / scenario.output)
        if digest != whole.digest:
            raise FaultError(f"{where}: the next run wrote something else")
        litter = {path.name for path in self._folder.iterdir()} - {"model", "text", scenario.output}
        if litter:
            raise FaultError(f"{where}: the next run left {sorted(litter)}")

    def _run_whole(self, name: str) -> Whole:
        """Carry out the scenario ``name``, and keep what it writes aside."""
        scenario = SCENARIOS[name]
        began = time.monotonic()
        accesses = self._finish(scenario)
        seconds = time.monotonic() - began
        digest = scenario.kind.digest(self._folder / scenario.output)
        (self._folder / scenario.output).rename(self._kept / name)
        return Whole(digest, seconds, accesses)

    def _finish(self, scenario: Scenario) -> int:
        """Let a run end, and return how often it touched its files; FaultError unless it succeeds."""
        process, pipe = self._start(scenario, fatal=None)
        process.join(_LIMIT_SECONDS)
        if process.exitcode != 0:
            raise FaultError(f"{' '.join(scenario.argv())}: exit status {process.exitcode}")
        accesses: int = pipe.recv()
        return accesses

    def _start(self, scenario: Scenario, fatal: int | None) -> tuple[Any, Any]:
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=_run, args=(self._folder, scenario.argv(), fatal, sender))
        process.start()
        sender.close()
        return process, receiver


def _run(folder: Path, argv: list[str], fatal: int | None, sender: Any) -> None:
    """Carry out a command in ``folder``, and kill this process right before its access number ``fatal`` to a file there."""
    os.chdir(folder)
    sys.argv = argv
    accesses = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal accesses
        if event not in _WRITES and not (event == "open" and _lies_in(folder, arguments[0])):
            return
        accesses += 1
        if accesses == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        squeeze_onnx()
    except SystemExit as end:
        sender.send(accesses)
        raise SystemExit(end.code or 0) from None


def _lies_in(folder: Path, name: object) -> bool:
    if not isinstance(name, str | bytes | os.PathLike):
        return False
    path = Path(os.fsdecode(name))
    return not path.is_absolute() or path.is_relative_to(folder)


def _copy(output: Path, target: Path) -> None:
    if output.is_dir():
        shutil.copytree(output, target)
    else:
        shutil.copyfile(output, target)


def _remove(output: Path) -> None:
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()


def kill_many(kills: int, seed: int, names: Sequence[str] = tuple(SCENARIOS)) -> dict[str, dict[str, int]]:
    """Kill ``kills`` runs, the scenarios ``names`` in turns; return what became of them. Raises FaultError."""
    with TemporaryDirectory(prefix="faults-") as folder:
        killing = Killing(Path(folder).resolve(), seed, names)
        for attempt in count():
            killed = sum(found["killed"] for found in killing.counts.values())
            if killed == kills:
                break
            if attempt % 20 == 19:
                click.echo(f"{killed} killed", err=True)
            killing.kill(names[attempt % len(names)], by_time=attempt // len(names) % 2 == 1)
        return {name: dict(found) for name, found in killing.counts.items()}


@click.command()
@row_options
@click.option("--kills", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(kills: int, seed: int, recorder: Recorder) -> None:
    """Kill, and keep what became of it as a row of models/faults/results/faults.json; exit status 1 at the first fault."""
    clock = Clock()
    try:
        counts = kill_many(kills, seed)
    except FaultError as fault:
        raise click.ClickException(str(fault)) from fault
    for name, found in counts.items():
        click.echo(f"{name}: {', '.join(f'{number} {what}' for what, number in found.items())}")
    values = {"kills": kills, "seed": seed, "faults": 0, "counts": counts}
    command = ("tools.faults", "--kills", str(kills), "--seed", str(seed))
    recorder.keep("faults/faults", f"{kills} kills", command, values, {"faults": EXACT}, seconds=clock.lap())


if __name__ == "__main__":
    main()
