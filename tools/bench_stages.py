"""What each stage of ``optimize`` takes beside what its operations cost at the speed of the machine's own products.

    python -m tools.bench_stages --glue DIR [--model mpnet-base-MRPC …] [--keep 0.5] [--row LABEL …]

Squeezes a reference model by ``auto`` in a process of its own and counts the CPU seconds of each stage, which a busy machine
stretches less than the time on the wall. The operations are those of `tools.stage_operations`; the speed is that of NumPy's
product of two float32 matrices, 2048 × 2048, measured just before. Keeps a row of models/NAME/results/stages.json.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model, optimize
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.support.stopwatch import Stopwatch
from tools.measuring import TASKS, Clock, Recorder, data_options, known_rows, row_options
from tools.rows import Tolerance
from tools.stage_operations import STAGES, Weight, Work

SIZE, TIMES = 2048, 5

TOLERANCE = {
    "cpu_seconds": Tolerance(
        relative=0.25, comparable_on="same", why="a quarter of the CPU seconds: other work on the machine"
    ),
    "peak_bytes": Tolerance(relative=0.15, comparable_on="same", why="15 % of a peak"),
}


def product_speed() -> float:
    """Return the operations a CPU second of a product of float32 matrices, the median of a few."""
    matrix = np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32)
    seconds = []
    for _ in range(TIMES + 1):
        began = time.process_time()
        matrix @ matrix
        seconds.append(time.process_time() - began)
    return 2.0 * SIZE**3 / float(np.median(seconds[1:]))


def work_of(path: Path, calibration: CalibrationConfig) -> Work:
    """Return what the encoder at ``path`` and its text mean for `tools.stage_operations`."""
    model = load_model(path)
    sites = [site for site in find_sites(model.ir).sites if not WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup]
    weights = [
        Weight(str(rows_of(site.nodes[0]).name), site.in_features, site.out_features, site.layer)
        for site in sites
        if site.layer is not None
    ]
    sizes = [batch.feeds["input_ids"].shape for batch in load_calibration(model, calibration)]
    layers = len({weight.layer for weight in weights})
    squares = float(sum(texts * length**2 for texts, length in sizes))
    return Work(weights, sum(texts * length for texts, length in sizes), squares, 2 * layers)


def run(path: Path, out: Path, keep: float, calibration: CalibrationConfig) -> dict[str, Any]:
    """Squeeze the model at ``path`` in this process; return the CPU seconds of each stage, of all, and the peak memory."""
    seconds: dict[str, float] = {}
    timed = Stopwatch.stage

    @contextmanager
    def counted(watch: Stopwatch, name: str) -> Iterator[None]:
        began = time.process_time()
        with timed(watch, name):
            yield
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - began

    with mock.patch.object(Stopwatch, "stage", counted):
        report = optimize(path, out, OptimizeConfig(keep=keep), calibration=calibration)
    peak, texts = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, report["calibration"]["rows"]
    return {"stages": seconds, "cpu_seconds": time.process_time(), "peak_bytes": peak, "texts": texts}


def measure(path: Path, task: str, glue: Path, keep: float) -> dict[str, Any]:
    """Return the values of a row: what `run` says in a process of its own, the operations, and the ratio of both."""
    command = [sys.executable, "-m", "tools.bench_stages", "--alone", str(path), task, str(glue), str(keep)]
    speed = product_speed()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    work = work_of(path, CalibrationConfig(f"glue:{task}", data=glue, rows=taken["texts"]))
    stages = {}
    for name, operations in work.operations(keep).items():
        used = taken["stages"].get(name, 0.0)
        stages[name] = {"gflop": operations / 1e9, "cpu_seconds": used, "ratio": used / (operations / speed)}
    return {
        "stages": stages,
        "other_seconds": taken["cpu_seconds"] - sum(each["cpu_seconds"] for each in stages.values()),
        "cpu_seconds": taken["cpu_seconds"],
        "peak_bytes": taken["peak_bytes"],
        "texts": taken["texts"],
        "tokens": work.tokens,
        "gflops": speed / 1e9,
    }


@click.command()
@data_options
@row_options
@click.option(
    "--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=["minilm-l6-MRPC", "mpnet-base-MRPC"]
)
@click.option("--keep", type=float, default=0.5, show_default=True)
def main(*, glue: Path, models: Path, names: Sequence[str], keep: float, recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/stages.json."""
    for name in names:
        label = f"auto, keep {keep:g}"
        if not recorder.wants(label):
            continue
        with recorder.attempt(label):
            clock = Clock()
            values = measure(models / name / "onnx", TASKS[name], glue, keep)
            command = ("tools.bench_stages", "--model", name, "--keep", f"{keep:g}")
            recorder.keep(f"{name}/stages", label, command, values, TOLERANCE, seconds=clock.lap())


def markdown() -> Iterator[str]:
    """Yield the lines of the table: CPU seconds of each stage, and how many times what its operations cost that is."""
    yield "| model | tokens | " + " | ".join(STAGES) + " | all, CPU seconds | memory |"
    yield "|---|---:|" + "---:|" * (len(STAGES) + 2)
    for name, rows in known_rows("stages"):
        for row in rows.values():
            values = row.values
            cells = [
                f"{each['cpu_seconds']:.0f} s, {each['ratio']:.1f}×" for each in (values["stages"][s] for s in STAGES)
            ]
            total, peak = f"{values['cpu_seconds']:.0f} s", f"{values['peak_bytes'] / 1e9:.1f} GB"
            yield f"| {name}, {row.label} | {values['tokens']:,} | {' | '.join(cells)} | {total} | {peak} |"


def operations_markdown() -> Iterator[str]:
    """Yield the lines of the table on paper: two shapes, 1,024 texts of 64 tokens, half of the weights left."""
    yield "| layers × widths | a forward pass | " + " | ".join(STAGES) + " |"
    yield "|---|---:|" + "---:|" * len(STAGES)
    for layers, hidden, inner in ((12, 768, 3072), (24, 1024, 4096)):
        work = Work.of_shapes(layers, hidden, inner, 1024, 64)
        cells = [f"{work.operations(0.5)[stage] / 1e12:.1f}" for stage in STAGES]
        yield f"| {layers} × {hidden}/{inner} | {work.forward / 1e12:.1f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        model, task, glue, keep = sys.argv[2:]
        with tempfile.TemporaryDirectory() as folder:
            text = CalibrationConfig(f"glue:{task}", data=Path(glue))
            print(json.dumps(run(Path(model), Path(folder) / "out", float(keep), text)))
    else:
        main()
