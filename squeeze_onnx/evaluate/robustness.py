"""Beyond the clean metric: where two models differ, whether a model knows when it errs, and what noise in the text costs each."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from squeeze_onnx.data.readers import Texts
from squeeze_onnx.data.similarity import cosine
from squeeze_onnx.data.tasks import Kind
from squeeze_onnx.evaluate.answer_heads import ClassLogits, Head, LabelLogits, Logits, ScoreHead, in_one_space
from squeeze_onnx.evaluate.evaluation import Encoders, Questions
from squeeze_onnx.evaluate.metrics import METRICS, drop_points
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.perturbations import LEVELS, PERTURBATIONS, perturbed
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent

_Ask = Callable[[Sequence[Texts]], np.ndarray]
"""Texts → what a model predicts for each."""

GROUPS = 10
CALIBRATION_BINS = 15
"""As in Guo et al. 2017."""


@dataclass(frozen=True)
class Group:
    """A tenth of the texts: the range of what they are sorted by, how many they are, and how like the answers are."""

    low: float
    high: float
    texts: int
    likeness: float


@dataclass(frozen=True)
class Likeness:
    """How like the baseline the candidate answers, by tenths of the texts: sorted by ``by``, compared by ``measure``.

    Classes: the fraction of equal predictions, by the baseline's confidence; labels: that of equal sets of them, by the
    confidence in the least certain one. Scores: the mean absolute difference, by the
    baseline's score. Embeddings have no confidence: the mean cosine, by the cosine itself, so that the worst tenth shows.
    """

    by: str
    measure: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class PerturbedScore:
    """The primary metric of both models on texts changed by ``perturbation`` at the chance ``level``."""

    perturbation: str
    level: float
    baseline: float
    candidate: float

    @property
    def drop_points(self) -> float:
        """How far it drops from baseline to candidate, in points."""
        return drop_points(self.baseline, self.candidate)


@dataclass(frozen=True)
class Robustness:
    """What was measured. ``calibration_error`` is that of (baseline, candidate); ``absent`` says by part why one is missing.

    ``perturbed`` starts with the texts as they are: perturbation ``none``, level 0.
    """

    likeness: Likeness
    calibration_error: tuple[float, float] | None
    perturbed: tuple[PerturbedScore, ...]
    absent: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        errors = self.calibration_error
        return {
            "likeness": asdict(self.likeness) | {"groups": [asdict(group) for group in self.likeness.groups]},
            "calibration_error": None if errors is None else {"baseline": errors[0], "candidate": errors[1]},
            "perturbed": [asdict(score) | {"drop_points": score.drop_points} for score in self.perturbed],
            "absent": dict(self.absent),
        }


def measure_robustness(
    models: tuple[OpenModel, OpenModel],
    questions: Questions,
    encoders: Encoders,
    *,
    batch_size: int,
    seed: int,
    track: Track = silent,
) -> Robustness:
    """Ask baseline and candidate, whose heads are of one kind, the ``questions`` as they are and perturbed.

    A task with several splits is perturbed, and its calibration looked at, on the first one.
    """
    if questions.task is not None and questions.task.kind not in (Kind.CLASSES, Kind.SCORES):
        raise OptionError(
            f"`robustness` perturbs texts with classes or scores; {questions.task.name} asks about {questions.task.kind}"
        )
    head, texts = models[0].head, questions.splits[0].texts if questions.splits else questions.texts
    answers = [
        model.answers(
            encoder.encode(head.sequences(texts)), padding=encoder.padding, batch_size=batch_size, track=track
        )
        for model, encoder in zip(models, encoders, strict=True)
    ]
    ask: list[_Ask] = [
        partial(model.predictions, encoder=encoder, batch_size=batch_size)
        for model, encoder in zip(models, encoders, strict=True)
    ]
    absent = {}
    errors = None
    if questions.task is None:
        absent["calibration_error"] = "labels are needed: name a task with `task`"
        absent["perturbed"] = "a metric is needed: name a task with `task`"
    elif isinstance(head, ClassLogits):
        labels = questions.splits[0].labels
        first, second = (calibration_error(softmax(found, axis=1), labels) for found in answers)
        errors = first, second
    else:
        absent["calibration_error"] = f"a model that answers with {head.kind.replace('_', ' ')} states no probability"
    return Robustness(
        likeness(head, *in_one_space([model.head for model in models], answers)),
        errors,
        _perturbed_scores(models, answers, questions, ask, seed=seed, track=track),
        absent,
    )


def likeness(head: Head, baseline: np.ndarray, candidate: np.ndarray) -> Likeness:
    """Compare answers (texts, features) by tenths; see `Likeness`."""
    match head:
        case LabelLogits():
            same = np.all(head.predictions(baseline) == head.predictions(candidate), axis=1)
            return Likeness("confidence", "agreement", tenths(expit(np.abs(baseline)).min(axis=1), same))
        case Logits():
            equal = np.argmax(baseline, axis=1) == np.argmax(candidate, axis=1)
            return Likeness("confidence", "agreement", tenths(softmax(baseline, axis=1).max(axis=1), equal))
        case ScoreHead():
            differences = np.abs(baseline - candidate)[:, 0]
            return Likeness("score", "mean_abs_diff", tenths(baseline[:, 0], differences))
        case _:
            cosines = cosine(baseline, candidate)
            return Likeness("cosine", "cosine_similarity", tenths(cosines, cosines))


def tenths(order: np.ndarray, values: np.ndarray) -> tuple[Group, ...]:
    """Return the means of ``values`` over tenths of equal size by ``order``, both (texts,), lowest first; fewer if few texts."""
    places = np.array_split(np.argsort(order, kind="stable"), min(GROUPS, len(order)))
    return tuple(
        Group(float(order[rows[0]]), float(order[rows[-1]]), len(rows), float(np.mean(values[rows]))) for rows in places
    )


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error of ``probabilities`` (rows, classes) for the true ``labels`` (rows,).

    ECE = Σ_b |B_b|/n · |accuracy(B_b) − confidence(B_b)| over bins B_b of equal width of the confidence, the probability of the
    likeliest class (Guo, Pleiss, Sun & Weinberger 2017, arXiv 1706.04599, eq. 3).
    """
    confidence, correct = probabilities.max(axis=1), np.argmax(probabilities, axis=1) == labels
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _perturbed_scores(
    models: Sequence[OpenModel],
    clean: Sequence[np.ndarray],
    questions: Questions,
    ask: Sequence[_Ask],
    *,
    seed: int,
    track: Track,
) -> tuple[PerturbedScore, ...]:
    if questions.task is None:
        return ()
    rows, name = questions.splits[0], questions.task.primary_metric
    metric = METRICS[name]
    predictions = [model.head.predictions(found) for model, found in zip(models, clean, strict=True)]
    scores = [PerturbedScore("none", 0.0, *(float(metric(rows.labels, found)) for found in predictions))]
    for perturbation, level in track([(name, level) for name in PERTURBATIONS for level in LEVELS], "Perturbations"):
        texts = perturbed(rows.texts, perturbation, level, seed=seed)
        predictions = [predict(texts) for predict in ask]
        scores.append(
            PerturbedScore(perturbation, level, *(float(metric(rows.labels, found)) for found in predictions))
        )
    return tuple(scores)
