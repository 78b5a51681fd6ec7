"""What a step of distillation takes: memory beyond that of the dense model in use, and time against a forward of the dense one.

    python -m tools.bench_distillation run [--model minilm-l6 ...]

Squeezes a reference model to half by `svd` and lets it learn on batches of 16 × 64 full tokens, in a process of its own;
another one opens the dense model and runs it on such a batch. Memory is the peak of the first process less that of the second,
all of Python included. Kept as a row of models/NAME/results/distillation_cost.json.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
import numpy as np

from squeeze_onnx import OptimizeConfig, load_model, optimize
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.learning.training_loop import DistillConfig
from squeeze_onnx.runtime import open_session
from squeeze_onnx.runtime.sessions import SessionSettings
from squeeze_onnx.support.progress import Status, Track, no_status
from tools.bench_gradients import inputs
from tools.bench_memory import memory_of
from tools.measuring import TASKS, Clock, Recorder, models_option, row_options
from tools.row_files import rows_of
from tools.rows import Tolerance

T = TypeVar("T")

LABEL = "a step"
TOLERANCE = {
    key: Tolerance(relative=0.15, comparable_on="same", why="15 % on a quiet machine")
    for key in ("times_file", "times_forward")
}
SHAPE = (16, 64)
STEPS = 12
BATCHES = 3


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@models_option
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=("minilm-l6", "mpnet-base"))
def run(names: Sequence[str], models: Path, recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/distillation_cost.json."""
    for name in names:
        clock, dense = Clock(), models / name / "onnx"
        with TemporaryDirectory() as folder:
            squeezed = Path(folder) / "squeezed"
            optimize(dense, squeezed, OptimizeConfig(method="svd", keep=0.5))
            used, learned = alone("use", dense), alone("learn", dense, squeezed)
        size = sum(path.stat().st_size for path in dense.glob("model.onnx*"))
        values = {
            "shape": SHAPE,
            "file": size,
            "use": used,
            "learn": learned,
            "times_file": (learned["peak"] - used["peak"]) / size,
            "times_forward": learned["seconds"] / used["seconds"],
        }
        command = ("tools.bench_distillation", "run", "--model", name)
        recorder.keep(f"{name}/distillation_cost", LABEL, command, values, TOLERANCE, seconds=clock.lap(), speed=True)


def alone(job: str, *models: Path) -> dict[str, float]:
    """Do ``job`` with ``models`` in a process of its own; returns its peak of memory in bytes and the seconds of a run."""
    command = [sys.executable, "-m", "tools.bench_distillation", job, *map(str, models)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


@main.command(hidden=True)
@click.argument("dense", type=click.Path(path_type=Path))
def use(dense: Path) -> None:
    """Run the dense model."""
    model = load_model(dense)
    feeds = inputs(model.ir, *SHAPE)
    session = open_session(model.path, settings=SessionSettings(threads=1))
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        session.run(None, feeds)
        seconds.append(time.perf_counter() - began)
    click.echo(json.dumps({"peak": memory_of(os.getpid())["VmHWM"], "seconds": float(np.median(seconds))}))


@main.command(hidden=True)
@click.argument("dense", type=click.Path(path_type=Path))
@click.argument("squeezed", type=click.Path(path_type=Path))
def learn(dense: Path, squeezed: Path) -> None:
    """Distil."""
    teacher, student = load_model(dense), load_model(squeezed)
    feeds = inputs(teacher.ir, *SHAPE)
    ids = np.random.default_rng(0).integers(1000, 20000, (BATCHES, *SHAPE))
    batches = [CalibrationBatch(feeds | {"input_ids": each}, np.ones(SHAPE, np.int64)) for each in ids]
    clock = StepClock()
    config = DistillConfig(steps=STEPS, evaluations=1)
    distill(
        student.ir,
        teacher.ir,
        Teaching(distillation_losses(teacher.ir, head_of(teacher)), batches, threads=1, track=clock),
        config,
    )
    click.echo(json.dumps({"peak": memory_of(os.getpid())["VmHWM"], "seconds": float(np.median(clock.seconds))}))


class StepClock(Track):
    """Takes the time of every step of distillation, those at whose end there is an evaluation left out."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterator[T]:
        """Yield the items."""
        for item in items:
            began = time.perf_counter()
            yield item
            if description == "Distillation" and item != items[-1]:
                self.seconds.append(time.perf_counter() - began)


def markdown() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| | file | memory beyond the dense model in use | a step, in forwards of the dense model |"
    yield "|---|---|---|---|"
    for name in TASKS:
        rows = rows_of(name, "distillation_cost")
        if LABEL in rows:
            yield _line(name, rows[LABEL].values)


def _line(name: str, found: Mapping[str, Any]) -> str:
    beyond = found["learn"]["peak"] - found["use"]["peak"]
    return (
        f"| {name} | {found['file'] / 1e6:.0f} MB | {beyond / 1e6:.0f} MB, {found['times_file']:.1f} files | "
        f"{found['times_forward']:.1f} |"
    )


if __name__ == "__main__":
    main()
