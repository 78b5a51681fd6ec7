"""Bytes, quality and time to the first answer of edge bundles, made by the commands that the documentation shows.

    python -m tools.bench_edge run --glue DIR --folder WORK
    python -m tools.bench_edge table

``run`` squeezes MiniLM-L6 to half in each of `VARIANTS`, holds it against the dense model on STS-B, packages, verifies and
unpacks it, asks run.py, each time in a new process, and writes models/minilm-l6/results/edge.json. Squeezed models and scores
that lie in WORK already are taken as they are. ``table`` puts what was measured into docs/guides/edge.md.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import click

from tools.measuring import ROOT, data_options, results_path
from tools.readme_tables import put_table

MODEL, TASK = "minilm-l6", "stsb"
RESULTS = results_path(MODEL, "edge")
PAGE = ROOT / "docs" / "guides" / "edge.md"

VARIANTS: Mapping[str, str] = {
    "int8": "--precision int8",
    "int8-int4": "--precision int8-int4",
    "int8-embedding": "--precision int8 --include embedding",
}
"""Name in WORK → what ``optimize --keep 0.5`` is told beside the data."""

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
QUESTION = "a film that was good"


@click.group()
def main() -> None:
    """Measure, and make the table of what was measured."""


@main.command()
@data_options
@click.option(
    "--folder", type=click.Path(path_type=Path), required=True, metavar="WORK", help="Where bundles are made."
)
@click.option("--answers", default=9, show_default=True, help="Processes that ask each bundle.")
def run(glue: Path, models: Path, folder: Path, answers: int) -> None:
    """Measure, and write models/minilm-l6/results/edge.json."""
    rows = {}
    for name in VARIANTS:
        bundle, squeezed = make_bundle(models / MODEL / "onnx", folder, name, glue)
        rows[name] = {
            "options": VARIANTS[name],
            **described(bundle, squeezed),
            "first_answer_s": times(bundle, answers),
        }
        click.echo(f"{name}: {rows[name]['bytes_without_tokenizer']} bytes without tokenizer")
    command = "python -m tools.bench_edge run --glue DIR --folder WORK"
    RESULTS.write_text(json.dumps({"task": TASK, "command": command, "rows": rows}, indent=1) + "\n")


def make_bundle(dense: Path, folder: Path, name: str, glue: Path) -> tuple[Path, Path]:
    """Squeeze, score, package and unpack one variant; return the unpacked bundle and the score."""
    small, score, bundle, device = (folder / f"{name}{end}" for end in ("", ".json", ".zip", "-device"))
    data = f"--data {glue}"
    if not small.exists():
        squeeze(f"optimize {dense} -o {small} --keep 0.5 --calibration glue:{TASK} {data} {VARIANTS[name]}")
    if not score.exists():
        squeeze(f"validate {dense} {small} --task {TASK} {data} --json {score}")
    squeeze(f"package {small} -o {bundle} --form ort --measured {score} --licence Apache-2.0 --force")
    squeeze(f"verify {bundle} --unpack {device}")
    return device, score


def squeeze(command: str) -> None:
    """Run one command of squeeze-onnx."""
    click.echo(f"squeeze-onnx {command}")
    subprocess.run([sys.executable, "-m", "squeeze_onnx", *shlex.split(command), "--quiet"], check=True)


def described(bundle: Path, score: Path) -> dict[str, Any]:
    """Return bytes of every file of ``bundle``, and what `validate` found."""
    files = {path.name: path.stat().st_size for path in sorted(bundle.iterdir())}
    scored = json.loads(score.read_text())
    metric = scored["primary_metric"]
    return {
        "bytes": files,
        "bytes_without_tokenizer": sum(size for name, size in files.items() if name not in TOKENIZER),
        "metric": metric,
        **scored["metrics"][metric],
        "cosine_similarity": scored["cosine_similarity"],
        "packages": scored["environment"]["packages"],
    }


def times(bundle: Path, count: int) -> dict[str, float]:
    """Return how long ``run.py`` takes from the start of its process to its end."""
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        subprocess.run([sys.executable, bundle / "run.py", QUESTION], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begin)
    return {"median": median(seconds), "worst": max(seconds), "processes": count}


@main.command()
def table() -> None:
    """Put the table between its markers in docs/guides/edge.md."""
    put_table(PAGE, "edge", markdown())


def markdown() -> Iterator[str]:
    """Yield the lines of the table."""
    rows = json.loads(RESULTS.read_text())["rows"]
    columns = ("`model.ort`", "bundle without tokenizer", "Spearman", "drop in points", "output cosine", "first answer")
    yield f"| `--keep 0.5` and | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for row in rows.values():
        low, high = row["drop_interval"]
        cells = (
            f"`{row['options']}`",
            f"{row['bytes']['model.ort'] / 1e6:.1f} MB",
            f"{row['bytes_without_tokenizer'] / 1e6:.1f} MB",
            f"{row['candidate']:.4f}",
            f"{row['drop_points']:.2f} ({low:.2f} … {high:.2f})",
            f"{row['cosine_similarity']:.3f}",
            f"{row['first_answer_s']['median']:.2f} s",
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
