"""The models whose speed is measured: what `optimize` writes for trained models, and what others make of the dense ones.

Each lies in a folder of its own, FOLDER/MODEL/SLUG, with the command and the commit that made it in ``made.json``, and its score
on the whole dev set in ``score.json``. What is there is not made again; a folder without made.json is not whole and is.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from squeeze_onnx.compress.calibration_source import CalibrationConfig, load_calibration
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.model_config import read_model_config
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.vocabulary import embedding_rows
from squeeze_onnx.evaluate.timed_models import TimedModel
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.io.size import ModelSize, digest_files, measure_size
from squeeze_onnx.runtime.rivals import RIVALS, build_rival
from squeeze_onnx.runtime.sessions import Feeds
from tools.provenance import git
from tools.rows import slug
from tools.speed_scores import predictions, scores

BUDGETS = (0.5, 0.33, 0.25)
PRECISIONS = ("fp32", "int8")

EXPORT = "dense, fp32"
FUSED = "dense, fp32, fused"
INT8 = "dense, int8"
OPENVINO = "dense, OpenVINO int8"

CODE = ("squeeze_onnx", "pyproject.toml")
"""What the models depend on."""

_TEXTS_TO_CONVERT = 64
"""Rows of the train split that NNCF takes ranges from."""


@dataclass(frozen=True)
class Measured:
    """A trained model: the task that it is scored on, and how many rows of its train split `optimize` is told to read."""

    task: str
    rows: int | None


MODELS = {
    "minilm-l6": Measured("stsb", 1024),
    "mpnet-base": Measured("stsb", 256),
    "mpnet-base-MRPC": Measured("mrpc", None),
}
"""Reference model → what is done with it."""


@dataclass(frozen=True)
class Place:
    """Where things lie for the model ``name``: the dense one, what is made of it, and the data (None: nothing can be made)."""

    name: str
    dense: Path
    folder: Path
    glue: Path | None

    @property
    def about(self) -> Measured:
        """What is done with the model."""
        return MODELS[self.name]

    def of(self, label: str) -> Path:
        """Return the folder of one of its entries."""
        return self.dense if label == EXPORT else self.folder / self.name / slug(label)


@dataclass(frozen=True)
class Entry:
    """Something to be timed: ``make`` writes it into a folder and returns the command that does so."""

    label: str
    make: Callable[[Place, Path], str]
    runtime: str = "onnxruntime"
    remark: str | None = None

    def file(self, place: Place) -> Path:
        """Return what is opened."""
        return place.of(self.label) / ("model.onnx" if self.runtime == "onnxruntime" else "openvino.xml")


def entries() -> tuple[Entry, ...]:
    """Return all entries of a model, the dense ones first."""
    return (
        Entry(EXPORT, _nothing),
        Entry(FUSED, _rival("fused", EXPORT)),
        Entry(INT8, _rival("int8", EXPORT), remark=RIVALS["int8"].remark()),
        Entry(OPENVINO, _rival("openvino", EXPORT), "openvino"),
        *(
            entry
            for keep in BUDGETS
            for entry in (
                *(Entry(f"keep {keep}, {precision}", _optimized(keep, precision)) for precision in PRECISIONS),
                Entry(f"keep {keep}, OpenVINO int8", _rival("openvino", f"keep {keep}, fp32"), "openvino"),
            )
        ),
    )


def prepare(place: Place, entry: Entry) -> Mapping[str, Any]:
    """Make ``entry`` if that has not been done; return what is in made.json."""
    folder = place.folder / place.name / slug(entry.label)
    known = folder / "made.json"
    if known.exists():
        return dict(json.loads(known.read_text(encoding="utf-8")))
    if place.glue is None:
        raise click.ClickException(f"{folder} has not been made: run python -m tools.bench_speed prepare --glue DIR")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    changes, commit = git("status", "--porcelain", "--", *CODE), git("rev-parse", "HEAD")
    begin = perf_counter()
    command = entry.make(place, folder)
    made = {
        "command": command,
        "commit": commit,
        "origin": "ran" if changes == "" else "changed",
        "seconds": round(perf_counter() - begin, 1),
    }
    known.write_text(json.dumps(made) + "\n", encoding="utf-8")
    return made


def score(place: Place, entry: Entry) -> Mapping[str, Any] | None:
    """Score ``entry``, which is there, if that has not been done; None if it has not and there is no data."""
    known = place.folder / place.name / slug(entry.label) / "score.json"
    if not known.exists() and place.glue is not None:
        predicted = predictions(entry.file(place), place.dense, place.about.task, place.glue).tolist()
        dense = predicted if entry.label == EXPORT else score(place, entries()[0])["predictions"]  # type: ignore[index]
        found = scores(place.about.task, place.glue, dense, predicted)
        known.write_text(json.dumps({**found, "predictions": predicted}) + "\n", encoding="utf-8")
    return dict(json.loads(known.read_text(encoding="utf-8"))) if known.exists() else None


def timed(place: Place, entry: Entry) -> TimedModel:
    """Return ``entry``, which is there, as `evaluate.benchmark` times it."""
    dense = load_model(place.dense)
    config, vocabulary = read_model_config(place.dense), embedding_rows(dense.ir)
    assert vocabulary is not None
    path = entry.file(place)
    if path.suffix == ".onnx":
        size = measure_size(load_model(path))
    else:
        files = (path, path.with_suffix(".bin"))
        size = ModelSize(
            sum(file.stat().st_size for file in files), measure_size(dense).parameters, digest_files(files)
        )
    return TimedModel(entry.label, path, config, size, vocabulary, entry.runtime, entry.remark)


def _nothing(place: Place, folder: Path) -> str:
    return f"python tools/reference_models.py {place.name}"


def _rival(kind: str, source: str) -> Callable[[Place, Path], str]:
    def make(place: Place, folder: Path) -> str:
        feeds = tuple(_feeds(place)) if RIVALS[kind].reads_feeds else ()
        build_rival(kind, place.of(source) / "model.onnx", folder, feeds)
        if kind != "openvino":
            (folder / f"{kind}.onnx").rename(folder / "model.onnx")
        copy_companions(find_repository(place.dense), folder)
        return f"squeeze-onnx bench … --against {kind}"

    return make


def _feeds(place: Place) -> Iterator[Feeds]:
    """Yield what NNCF takes ranges from."""
    source = CalibrationConfig(f"glue:{place.about.task}", place.glue, rows=_TEXTS_TO_CONVERT)
    return (batch.feeds for batch in load_calibration(load_model(place.dense), source))


def _optimized(keep: float, precision: str) -> Callable[[Place, Path], str]:
    def make(place: Place, folder: Path) -> str:
        command = [
            *("optimize", "MODEL", "-o", "OUT", "--keep", str(keep), "--precision", precision),
            *("--calibration", f"glue:{place.about.task}", "--data", "GLUE"),
            *(() if place.about.rows is None else ("--calibration-rows", str(place.about.rows))),
        ]
        real = {"MODEL": str(place.dense), "OUT": str(folder), "GLUE": str(place.glue)}
        surveys = place.folder / place.name / "surveys"
        _squeeze([*(real.get(word, word) for word in command), "--force", "--quiet", "--cache", str(surveys)])
        return f"squeeze-onnx {' '.join(command)}"

    return make


def _squeeze(arguments: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "squeeze_onnx", *arguments], check=False)
    if done.returncode != 0:
        raise click.ClickException(f"squeeze-onnx {' '.join(arguments)} ended with status {done.returncode}")
