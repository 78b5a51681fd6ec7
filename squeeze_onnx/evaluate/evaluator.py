"""One baseline, many candidates: labelled rows that the baseline answers once."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.repository import repository_of
from squeeze_onnx.data.stored_output import read_stored_output
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.data.tokenization import TextEncoder
from squeeze_onnx.evaluate.answer_heads import ClassLogits
from squeeze_onnx.evaluate.asking import Asked, Way, ask
from squeeze_onnx.evaluate.asking.base import NOTHING_BESIDE, Beside
from squeeze_onnx.evaluate.bootstrap import Interval, drop_interval
from squeeze_onnx.evaluate.metrics import METRICS
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.sanity import Sanity, sanity_of
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.progress import Track, silent

BASELINE = "baseline"


@dataclass(frozen=True)
class Grade:
    """The primary metric of a candidate, as a fraction, its drop in points, and the drop's 95 % interval."""

    metric: float
    drop_points: float
    drop_interval: Interval


@dataclass(frozen=True)
class Predictor:
    """How models are asked about ``task``: what config.json says of them, their tokenizer, and where they run."""

    task: Task
    settings: ModelConfig
    encoder: TextEncoder
    provider: str = "cpu"
    batch_size: int = 32
    seed: int = 0

    def open(self, model: Path, name: str) -> OpenModel:
        """Open ``model``, an .onnx file; a candidate lies where it will not be found later, so messages name no file."""
        label = None if name == BASELINE else f"the {name}"
        settings = replace(self.settings, stored=read_stored_output(repository_of(model)))
        return OpenModel.of(name, open_session(model, self.provider, label=label), settings, self.task)

    def ask(self, opened: OpenModel, rows: LabelledRows, track: Track = silent) -> Asked:
        """Ask an open model; raises as `squeeze_onnx.evaluate.asking.ask` does."""
        return ask(self.task, opened, rows, Way(self.encoder, self.batch_size, track))

    def predictions(self, model: Path, name: str, rows: LabelledRows, track: Track = silent) -> np.ndarray:
        """Return what the metrics take of ``model``, an .onnx file, for each row; raises as `open_session` does, too."""
        return self.ask(self.open(model, name), rows, track).predictions

    def score(self, predictions: np.ndarray, rows: LabelledRows) -> float:
        """Return the primary metric."""
        return float(METRICS[self.task.primary_metric](rows.labels, predictions))


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Rows with what the baseline answers to them, as metrics take it, and which of its classes are those of the data."""

    predictor: Predictor
    rows: LabelledRows
    baseline: np.ndarray
    order: tuple[int, ...] | None = None
    beside: Beside = NOTHING_BESIDE

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        rows: LabelledRows,
        baseline: Path,
        track: Track = silent,
        *,
        asked: Predictor | None = None,
    ) -> Self:
        """Ask ``baseline``, an .onnx file, as ``asked`` says where it reads texts otherwise than candidates do."""
        asked = asked or predictor
        opened = asked.open(baseline, BASELINE)
        order = opened.head.order if isinstance(opened.head, ClassLogits) else None
        found = asked.ask(opened, rows, track)
        return cls(predictor, rows, found.predictions, order, found.beside)

    @property
    def sanity(self) -> Sanity:
        """What there is to be said of the baseline's own score."""
        return sanity_of(self.predictor.task, self.rows.labels, self.baseline, self.order, self.beside)

    @property
    def baseline_metric(self) -> float:
        """The primary metric of the baseline."""
        return self.predictor.score(self.baseline, self.rows)

    def grade(self, candidate: Path, track: Track = silent) -> Grade:
        """Ask ``candidate``, an .onnx file with the inputs and outputs of the baseline."""
        predictor, labels = self.predictor, self.rows.labels
        answers = predictor.predictions(candidate, "candidate", self.rows, track)
        metric = predictor.score(answers, self.rows)
        primary = METRICS[predictor.task.primary_metric]
        return Grade(
            metric,
            primary.drop_points(self.baseline_metric, metric),
            drop_interval(primary, labels, self.baseline, answers, seed=predictor.seed),
        )
