"""The small model that `squeeze-onnx demo` fetches: its whole table takes minutes, so that every change can be held against it.

    python -m tools.bench_small --glue DIR [--row LABEL …]

Squeezes paraphrase-MiniLM-L3-v2 as each of `VARIANTS` says, by the command line, scores it on the dev set of STS-B, and keeps
rows of models/paraphrase-minilm-l3/results/small.json. CI runs the rows `IN_CI` again (`tools.recheck --cheap`).
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.support.downloads import cache_folder
from squeeze_onnx.workflows import demo
from tools.commands import score_values, scored, squeeze
from tools.measuring import DEV_ROWS, Clock, Recorder, Shared, glue_option, row_options
from tools.row_files import rows_of
from tools.rows import Tolerance, name_of
from tools.tolerances import BYTES, of_answers

MODEL, TASK = "paraphrase-minilm-l3", "stsb"
PLACE = f"{MODEL}/small"
FFN = "--exclude query --exclude key --exclude value --exclude attention_output"
TEXT = "--calibration glue:stsb --calibration-rows 64"

VARIANTS: Mapping[str, str] = {
    "squeeze, FFN, keep 0.6": f"--method squeeze --keep 0.6 {FFN}",
    "svd, FFN, keep 0.6": f"--method svd --keep 0.6 {FFN}",
    "squeeze, FFN, keep 0.9": f"--method squeeze --keep 0.9 {FFN}",
    "squeeze, FFN, `--preset paper-ffn`": "--method squeeze --preset paper-ffn",
    "squeeze, all roles, keep 0.9": "--method squeeze --keep 0.9",
    "squeeze, all roles, keep 0.75": "--method squeeze --keep 0.75",
    "squeeze, all roles and embeddings, keep 0.9": "--method squeeze --keep 0.9 --include embedding",
    "whiten on 64 rows, all roles, keep 0.5": f"--keep 0.5 {TEXT}",
    "whiten on 64 rows, all roles, keep 0.5, int8": f"--keep 0.5 {TEXT} --precision int8",
    "whiten on 64 rows, all roles and embeddings, keep 0.75, int8": f"--keep 0.75 {TEXT} --precision int8 --include embedding",
    "whiten in 8 MB, distilled, int8-int4 (the demo)": "--max-size 8MB --precision int8-int4 --distill 150 --calibration {texts}",
}
"""Label → what ``optimize`` is told."""

IN_CI = (
    name_of(PLACE, "squeeze, FFN, keep 0.6"),
    name_of(PLACE, "whiten on 64 rows, all roles and embeddings, keep 0.75, int8"),
)
"""One row without data and in float, and one that goes through text, tables and rounding."""


@click.command()
@glue_option
@row_options
def main(glue: Path, recorder: Recorder) -> None:
    """Measure, and keep rows in models/paraphrase-minilm-l3/results/small.json."""
    inputs, shared = demo.prepare(cache_folder()), Shared("the model", 0.0)
    for label, options in VARIANTS.items():
        if recorder.wants(label):
            with recorder.attempt(label):
                clock, values = Clock(), measure(inputs.model, options, glue, texts=inputs.texts)
                allowed = tolerance(values, DEV_ROWS[TASK])
                command = ("tools.bench_small",)
                recorder.keep(PLACE, label, command, values, allowed, seconds=clock.lap(), shared=shared)


def measure(dense: Path, options: str, glue: Path, *, texts: Path | None = None) -> dict[str, Any]:
    """Squeeze the model in the folder ``dense`` as ``options`` say, where {texts} is a file, and return score and size."""
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        data = f" --data {glue}" if "--calibration glue:" in options else ""
        squeeze(f"optimize {dense} -o {small} {options.format(texts=texts)}{data}")
        found = scored(dense, small, TASK, glue)
    return {"options": options, **score_values(found), "size": found["size"]}


def tolerance(values: dict[str, Any], rows: int) -> dict[str, Tolerance]:
    """Return how far the values may drift; the score is over so many ``rows``."""
    return {**of_answers(values, rows), "size.candidate_bytes": BYTES}


def markdown() -> Iterator[str]:
    """Yield the lines of the table."""
    rows = rows_of(MODEL, "small")
    yield "| `--method` and sites | file | output cosine | STS-B | drop |"
    yield "|---|---|---|---|---|"
    for number, label in enumerate(label for label in VARIANTS if label in rows):
        found = rows[label].values
        size, (low, high) = found["size"], found["drop_interval"]
        if number == 0:
            yield f"| dense | {size['baseline_bytes'] / 1e6:.1f} MB | 1 | {found['baseline']:.4f} | |"
        share = 100 * (1 - size["candidate_bytes"] / size["baseline_bytes"])
        cells = (
            label,
            f"{size['candidate_bytes'] / 1e6:.1f} MB (−{share:.1f} %)",
            f"{found['cosine_similarity']:.3f}",
            f"{found['candidate']:.4f}",
            f"{found['drop_points']:.2f} ({low:.2f} … {high:.2f})",
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
