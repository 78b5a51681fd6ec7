"""Bytes, quality and time to the first answer of edge bundles, made by the commands that the documentation shows.

    python -m tools.bench_edge --glue DIR [--row int8 …]

Squeezes MiniLM-L6 to half in each of `VARIANTS`, holds it against the dense model on STS-B, packages, verifies and unpacks it,
and keeps a row of models/minilm-l6/results/edge.json. Rows "first answer" ask run.py of the bundle, each time in a new process.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from tools.commands import score_values, scored, squeeze
from tools.measuring import DEV_ROWS, Clock, Recorder, data_options, row_options
from tools.row_files import rows_of
from tools.tolerances import BYTES, of_answers

MODEL, TASK = "minilm-l6", "stsb"
PLACE = f"{MODEL}/edge"

VARIANTS: Mapping[str, str] = {
    "int8": "--precision int8",
    "int8-int4": "--precision int8-int4",
    "int8-embedding": "--precision int8 --include embedding",
}
"""Label → what ``optimize --keep 0.5`` is told beside the data: the lines of the table."""

RANGES: Mapping[str, str] = {"int8, whole range": "--precision int8 --target-cpu vnni"}
"""The same, for the page on precision."""

ANSWER = ", first answer"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
QUESTION = "a film that was good"
PROCESSES = 9


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle in ``folder``, what `validate` says of its model, and what it took to make."""

    folder: Path
    score: dict[str, Any]
    seconds: float


@click.command()
@data_options
@row_options
def main(glue: Path, models: Path, recorder: Recorder) -> None:
    """Measure, and keep rows in models/minilm-l6/results/edge.json."""
    for name, options in {**VARIANTS, **RANGES}.items():
        labels = [label for label in (name, name + ANSWER) if recorder.wants(label)]
        if labels:
            with tempfile.TemporaryDirectory() as folder, recorder.attempt(name):
                bundle = make_bundle(models / MODEL / "onnx", Path(folder), options, glue)
                measure(bundle, options, labels, recorder)


def measure(bundle: Bundle, options: str, labels: list[str], recorder: Recorder) -> None:
    """Keep the rows ``labels`` of ``bundle``."""
    clock, command, made = Clock(), ("tools.bench_edge",), bundle.seconds
    for label in labels:
        if label.endswith(ANSWER):
            values = {"options": options, **times(bundle.folder)}
            recorder.keep(PLACE, label, command, values, {}, seconds=made + clock.lap(), speed=True)
        else:
            values = {"options": options, **described(bundle)}
            allowed = {**of_answers(values, DEV_ROWS[TASK]), "bytes_without_tokenizer": BYTES}
            recorder.keep(PLACE, label, command, values, allowed, seconds=made + clock.lap())


def make_bundle(dense: Path, folder: Path, options: str, glue: Path) -> Bundle:
    """Squeeze, score, package and unpack one variant."""
    clock = Clock()
    small, bundle, device = folder / "small", folder / "bundle.zip", folder / "device"
    squeeze(f"optimize {dense} -o {small} --keep 0.5 --calibration glue:{TASK} --data {glue} {options}")
    score = scored(dense, small, TASK, glue)
    squeeze(f"package {small} -o {bundle} --form ort --measured {small}.json --licence Apache-2.0")
    squeeze(f"verify {bundle} --unpack {device}")
    return Bundle(device, score, clock.lap())


def described(bundle: Bundle) -> dict[str, Any]:
    """Return bytes of every file of ``bundle``, and its score."""
    files = {path.name: path.stat().st_size for path in sorted(bundle.folder.iterdir())}
    return {
        "bytes": files,
        "bytes_without_tokenizer": sum(size for name, size in files.items() if name not in TOKENIZER),
        **score_values(bundle.score),
    }


def times(folder: Path) -> dict[str, float]:
    """Return how long ``run.py`` takes from the start of its process to its end."""
    seconds = []
    for _ in range(PROCESSES):
        begin = time.perf_counter()
        subprocess.run([sys.executable, folder / "run.py", QUESTION], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begin)
    return {"median": median(seconds), "worst": max(seconds), "processes": PROCESSES}


def markdown() -> Iterator[str]:
    """Yield the lines of the table."""
    rows = rows_of(MODEL, "edge")
    columns = ("`model.ort`", "bundle without tokenizer", "Spearman", "drop in points", "output cosine", "first answer")
    yield f"| `--keep 0.5` and | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for name in VARIANTS:
        found, answer = rows[name].values, rows.get(name + ANSWER)
        low, high = found["drop_interval"]
        cells = (
            f"`{found['options']}`",
            f"{found['bytes']['model.ort'] / 1e6:.1f} MB",
            f"{found['bytes_without_tokenizer'] / 1e6:.1f} MB",
            f"{found['candidate']:.4f}",
            f"{found['drop_points']:.2f} ({low:.2f} … {high:.2f})",
            f"{found['cosine_similarity']:.3f}",
            "–" if answer is None else f"{answer.values['median']:.2f} s",
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
