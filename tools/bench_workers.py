"""Two workers against one: analysis and exact factorization of a reference model, in turns, and is the result the same?

    OPENBLAS_NUM_THREADS=1 python -m tools.bench_workers [--model mpnet-base] [--rounds 5]

Each round starts processes anew, one and then two, lets them import what they need, and times ``analyze`` and then
``optimize --method svd --keep 0.5``, from the loading of the model to its report. Seconds are medians over the rounds.
"""

import hashlib
import json
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from squeeze_onnx import AnalyzeConfig, OptimizeConfig, analyze, optimize
from squeeze_onnx.report.environment import environment
from squeeze_onnx.workers import workers
from tools.measuring import results_path

COUNTS = (1, 2)


@click.command()
@click.option("--model", default="mpnet-base", show_default=True)
@click.option("--models", type=click.Path(path_type=Path), default=Path.home() / ".cache/squeeze-onnx/models")
@click.option("--rounds", default=5, show_default=True)
def main(model: str, models: Path, rounds: int) -> None:
    """Measure, print and keep what was found."""
    path = models / model / "onnx"
    seen: dict[int, list[dict[str, Any]]] = {count: [] for count in COUNTS}
    for _ in range(rounds):
        for count in COUNTS:
            seen[count].append(run(path, count))
            click.echo(f"{count}: {seen[count][-1]}")
    digests = {each["sha256"] for found in seen.values() for each in found}
    if len(digests) > 1:
        raise click.ClickException(f"the models differ: {digests}")
    seconds = {
        stage: {str(count): median(each[stage] for each in seen[count]) for count in COUNTS}
        for stage in ("analyze", "optimize", "both")
    }
    result = {"environment": environment(), "rounds": rounds, "sha256": digests.pop(), "seconds": seconds}
    results_path(model, "workers").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for stage, found in seconds.items():
        click.echo(f"{stage}: {found['1']:.1f} s → {found['2']:.1f} s, {found['1'] / found['2']:.2f}×")


def run(path: Path, count: int) -> dict[str, Any]:
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
    import squeeze_onnx.factoring
    import squeeze_onnx.spectra  # noqa: F401

    time.sleep(0.5)


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
