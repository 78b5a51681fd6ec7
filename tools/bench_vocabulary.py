"""What a part of the vocabulary is worth: bytes, answers to the texts whose tokens stay, and the score on others.

    python -m tools.bench_vocabulary [--glue DIR] [--row LABEL …]

Trims a generated model of a multilingual shape to the training texts of STS-B and holds its answers to some of these against
those of the whole one; rows of models/multilingual-shape/results/vocabulary.json. Trims MiniLM-L6 to the same texts, and to
those of more tasks, and scores it on the dev set of STS-B, which is of neither; rows of models/minilm-l6/results/vocabulary.json.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.readers import train_texts
from tools.commands import score_values, scored, squeeze
from tools.measuring import DEV_ROWS, Clock, Recorder, data_options, row_options
from tools.multilingual_shape import write_multilingual
from tools.rows import Tolerance
from tools.tolerances import BYTES, EXACT, of_answers

COMMAND = ("tools.bench_vocabulary",)
SHAPE, MINILM, TASK = "multilingual-shape", "minilm-l6", "stsb"
TEXTS = {"texts of STS-B": ("stsb",), "texts of five tasks": ("stsb", "sst2", "mrpc", "rte", "cola")}
ASKED = 300
SAME = Tolerance(absolute=1e-6, why="the same rows go through the same operators")


@click.command()
@data_options
@row_options
def main(glue: Path, models: Path, recorder: Recorder) -> None:
    """Measure, and keep rows."""
    for label, tasks in TEXTS.items():
        for place, measure in ((f"{SHAPE}/vocabulary", _shape), (f"{MINILM}/vocabulary", _minilm)):
            wanted = f"{label}, {place.split('/')[0]}"
            if recorder.wants(wanted) and (tasks == (TASK,) or measure is _minilm):
                with recorder.attempt(wanted), tempfile.TemporaryDirectory() as folder:
                    clock = Clock()
                    values, allowed = measure(Path(folder), _texts(tasks, glue), glue, models)
                    recorder.keep(place, wanted, COMMAND, values, allowed, seconds=clock.lap())


def _texts(tasks: Sequence[str], glue: Path) -> list[str]:
    rows = [row for task in tasks for row in train_texts(find_task(task), glue, None, seed=0)]
    return list(dict.fromkeys(text for row in rows for text in row))


def _trimmed(dense: Path, folder: Path, texts: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Keep the tokens of ``texts`` and nothing else changed; return the folder, and what a row says of it."""
    kept, small = folder / "texts.txt", folder / "small"
    kept.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    squeeze(f"optimize {dense} -o {small} --method svd --keep 1 --keep-vocabulary {kept}")
    words = json.loads((small / "report.json").read_text(encoding="utf-8"))["vocabulary"]
    before, after = (words["bytes"][when] for when in ("before", "after"))
    return small, {"texts": len(texts), "tokens": words["tokens"], "baseline_bytes": before, "optimized_bytes": after}


def _shape(folder: Path, texts: list[str], glue: Path, models: Path) -> tuple[dict[str, Any], dict[str, Tolerance]]:
    dense = write_multilingual(folder / "dense", texts)
    small, values = _trimmed(dense, folder, texts)
    asked, told = folder / "asked.txt", folder / "told.json"
    asked.write_text("".join(f"{text}\n" for text in texts[:ASKED]), encoding="utf-8")
    squeeze(f"validate {dense} {small} --data {asked} --json {told}")
    found = json.loads(told.read_text(encoding="utf-8"))
    values["max_abs_diff"] = found["max_abs_diff"]
    return values, {"tokens.after": EXACT, "optimized_bytes": BYTES, "max_abs_diff": SAME}


def _minilm(folder: Path, texts: list[str], glue: Path, models: Path) -> tuple[dict[str, Any], dict[str, Tolerance]]:
    dense = models / MINILM / "onnx"
    small, values = _trimmed(dense, folder, texts)
    values |= score_values(scored(dense, small, TASK, glue))
    return values, {**of_answers(values, DEV_ROWS[TASK]), "tokens.after": EXACT, "optimized_bytes": BYTES}


if __name__ == "__main__":
    main()
