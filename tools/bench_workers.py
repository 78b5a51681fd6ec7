"""Two workers against one: analysis and exact factorization of a reference model, in turns, and is the result the same?

    OPENBLAS_NUM_THREADS=1 python -m tools.bench_workers run [--model mpnet-base] [--rounds 5]
    python -m tools.bench_workers table

Each round starts processes anew, one and then two, lets them import what they need, and times ``analyze`` and then
``optimize --method svd --keep 0.5``, from the loading of the model to its report. Seconds are medians over the rounds, and so
are ratios, of one round each.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from squeeze_onnx import AnalyzeConfig, OptimizeConfig, analyze, optimize
from squeeze_onnx.integrations.dask import workers
from squeeze_onnx.support.environment import environment
from tools.measuring import ROOT, results_path
from tools.readme_tables import put_table

COUNTS = (1, 2)
STAGES = ("analyze", "optimize", "both")
PAGE = ROOT / "docs" / "guides" / "many-machines.md"


@click.group()
def main() -> None:
    """Measure, and make the table of what was measured."""


@main.command()
@click.option("--model", default="mpnet-base", show_default=True)
@click.option("--models", type=click.Path(path_type=Path), default=Path.home() / ".cache/squeeze-onnx/models")
@click.option("--rounds", default=5, show_default=True)
def run(model: str, models: Path, rounds: int) -> None:
    """Measure, print and keep what was found."""
    path = models / model / "onnx"
    seen: dict[int, list[dict[str, Any]]] = {count: [] for count in COUNTS}
    for _ in range(rounds):
        for count in COUNTS:
            seen[count].append(timed(path, count))
            click.echo(f"{count}: {seen[count][-1]}")
    digests = {each["sha256"] for found in seen.values() for each in found}
    if len(digests) > 1:
        raise click.ClickException(f"the models differ: {digests}")
    stages = {stage: _summary(stage, *seen.values()) for stage in STAGES}
    result = {"environment": environment(), "rounds": rounds, "sha256": digests.pop(), "stages": stages}
    results_path(model, "workers").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for line in _lines(result):
        click.echo(line)


def _summary(stage: str, one: Sequence[Mapping[str, Any]], two: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    ratios = [alone[stage] / together[stage] for alone, together in zip(one, two, strict=True)]
    return {"1": median(each[stage] for each in one), "2": median(each[stage] for each in two), "ratio": median(ratios)}


@main.command()
@click.option("--model", default="mpnet-base", show_default=True)
def table(model: str) -> None:
    """Put the table into the page."""
    put_table(PAGE, "two workers", _lines(json.loads(results_path(model, "workers").read_text())))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| | 1 worker | 2 workers | ratio |"
    yield "|---|---|---|---|"
    for stage, found in result["stages"].items():
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
