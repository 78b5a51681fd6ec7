"""What a step of distillation takes: memory beyond that of the dense model in use, and time against a forward of the dense one.

    python -m tools.bench_distillation run [--model minilm-l6 ...]
    python -m tools.bench_distillation table

``run`` squeezes a reference model to half by `svd` and lets it learn on batches of 16 × 64 full tokens, in a process of its own;
another one opens the dense model and runs it on such a batch. Memory is the peak of the first process less that of the second,
all of Python included. models/NAME/results/distillation_cost.json keeps it; ``table`` puts it into docs/methods/steps.md.
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
from squeeze_onnx.learning.objectives import imitation_losses
from squeeze_onnx.learning.training_loop import DistillConfig
from squeeze_onnx.runtime import open_session
from squeeze_onnx.support.environment import environment
from squeeze_onnx.support.progress import Status, Track, no_status
from tools.bench_gradients import inputs
from tools.bench_memory import memory_of
from tools.measuring import ROOT, TASKS, results_path
from tools.readme_tables import put_table

T = TypeVar("T")

PAGE = ROOT / "docs" / "methods" / "steps.md"
SHAPE = (16, 64)
STEPS = 12
BATCHES = 3


@click.group()
def main() -> None:
    """Measure, and make the table of what was measured."""


@main.command()
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=("minilm-l6", "mpnet-base"))
@click.option("--models", type=click.Path(path_type=Path), default=Path.home() / ".cache/squeeze-onnx/models")
def run(names: Sequence[str], models: Path) -> None:
    """Measure, and write models/NAME/results/distillation_cost.json."""
    for name in names:
        dense = models / name / "onnx"
        with TemporaryDirectory() as folder:
            squeezed = Path(folder) / "squeezed"
            optimize(dense, squeezed, OptimizeConfig(method="svd", keep=0.5))
            used, learned = alone("use", dense), alone("learn", dense, squeezed)
        size = sum(path.stat().st_size for path in dense.glob("model.onnx*"))
        result = {
            "shape": SHAPE,
            "file": size,
            "use": used,
            "learn": learned,
            "times_file": (learned["peak"] - used["peak"]) / size,
            "times_forward": learned["seconds"] / used["seconds"],
            "environment": environment(),
        }
        results_path(name, "distillation_cost").write_text(json.dumps(result, indent=1) + "\n")
        click.echo(f"{name}: {result['times_file']:.2f} times the file, {result['times_forward']:.1f} forwards")


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
    session = open_session(model.path, threads=1)
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
        student.ir, teacher.ir, imitation_losses(teacher.ir, head_of(teacher)), batches, config, threads=1, track=clock
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


@main.command()
def table() -> None:
    """Put the table between its markers in docs/methods/steps.md."""
    put_table(PAGE, "distillation cost", markdown())


def markdown() -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| | file | memory beyond the dense model in use | a step, in forwards of the dense model |"
    yield "|---|---|---|---|"
    for name in TASKS:
        path = results_path(name, "distillation_cost")
        if path.exists():
            yield _line(name, json.loads(path.read_text()))


def _line(name: str, found: Mapping[str, Any]) -> str:
    beyond = found["learn"]["peak"] - found["use"]["peak"]
    return (
        f"| {name} | {found['file'] / 1e6:.0f} MB | {beyond / 1e6:.0f} MB, {found['times_file']:.1f} files | "
        f"{found['times_forward']:.1f} |"
    )


if __name__ == "__main__":
    main()
