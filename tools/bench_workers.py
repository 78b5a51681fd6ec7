"""Two workers against one: analysis and exact factorization of a reference model, in turns, and is the result the same?

    python -m tools.bench_workers --threads 1 [--model mpnet-base] [--rounds 3]

Each round starts processes anew, one and then two, lets them import what they need, and times ``analyze`` and then
``optimize --method svd --keep 0.5``, from the loading of the model to its report. Seconds are medians over the rounds, and so
are ratios, of one round each.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from squeeze_onnx import AnalyzeConfig, OptimizeConfig, analyze, optimize
from squeeze_onnx.integrations.dask import workers
from tools.measuring import Clock, Recorder, models_option, row_options
from tools.row_files import rows_of
from tools.rows import Tolerance

COUNTS = (1, 2)
STAGES = ("analyze", "optimize", "both")
LABEL = "two workers against one"
TOLERANCE = {
    f"stages.{stage}.ratio": Tolerance(absolute=0.2, comparable_on="same", why="0.2 of a ratio of 2")
    for stage in STAGES
}


@click.command()
@models_option
@row_options
@click.option("--model", default="mpnet-base", show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(model: str, models: Path, rounds: int, recorder: Recorder) -> None:
    """Measure, and keep a row in models/MODEL/results/workers.json."""
    path, clock = models / model / "onnx", Clock()
    seen: dict[int, list[dict[str, Any]]] = {count: [] for count in COUNTS}
    for _ in range(rounds):
        for count in COUNTS:
            seen[count].append(timed(path, count))
            click.echo(f"{count}: {seen[count][-1]}")
    digests = {each["sha256"] for found in seen.values() for each in found}
    if len(digests) > 1:
        raise click.ClickException(f"the models differ: {digests}")
    stages = {stage: _summary(stage, *seen.values()) for stage in STAGES}
    values = {"rounds": rounds, "sha256": digests.pop(), "stages": stages}
    command = ("tools.bench_workers", "--threads", "1", "--model", model, "--rounds", str(rounds))
    recorder.keep(f"{model}/workers", LABEL, command, values, TOLERANCE, seconds=clock.lap(), speed=True)


def _summary(stage: str, one: Sequence[Mapping[str, Any]], two: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    ratios = [alone[stage] / together[stage] for alone, together in zip(one, two, strict=True)]
    return {"1": median(each[stage] for each in one), "2": median(each[stage] for each in two), "ratio": median(ratios)}


def markdown(model: str = "mpnet-base") -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| | 1 worker | 2 workers | ratio |"
    yield "|---|---|---|---|"
    for stage, found in rows_of(model, "workers")[LABEL].values["stages"].items():
        yield f"| {stage} | {found['1']:.1f} s | {found['2']:.1f} s | {found['ratio']:.2f}× |"


def timed(path: Path, count: int) -> dict[str, Any]:
    """Time ``count`` workers, and say what they made."""
    with TemporaryDirectory() as folder, workers(f"local:{count}", out=Path(folder) / "workers") as track:
        list(track.map(import_all, range(4 * count), "Imports"))
        analysis = _seconds(lambda: analyze(path, AnalyzeConfig(), track))
        out = Path(folder) / "out"
        optimization = _seconds(lambda: optimize(path, out, OptimizeConfig(method="svd", keep=0.5), track=track))
        digest = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    return {"analyze": analysis, "optimize": optimization, "both": analysis + optimization, "sha256": digest}


def import_all(_: int) -> None:
    """Import what the tasks need, and take long enough that each worker does."""
    import squeeze_onnx.compress.factoring
    import squeeze_onnx.compress.spectra  # noqa: F401

    time.sleep(0.5)


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
