"""Ask two models the same questions on one execution provider and compare what they say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.fixed_shape import ANY_SHAPE, FixedShape
from squeeze_onnx.data.glue import Task
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.readers import LabelledRows, Texts
from squeeze_onnx.data.tokenization import TextEncoder
from squeeze_onnx.evaluate.bootstrap import Interval, drop_interval, speedup_interval
from squeeze_onnx.evaluate.embedding_entry import embedding_entry
from squeeze_onnx.evaluate.fidelity import Fidelity
from squeeze_onnx.evaluate.metrics import drop_points, metrics_of
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.graph.io.size import ModelSize
from squeeze_onnx.runtime.latency import Latency, measure_latency
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent


@dataclass(frozen=True)
class Subject:
    """A model file under test, what lies beside it, how large it is, how many tokens it embeds (None: unknown), and its shape."""

    path: Path
    config: ModelConfig
    size: ModelSize
    vocabulary: int | None
    fixed: FixedShape = ANY_SHAPE


@dataclass(frozen=True, eq=False)
class Questions:
    """What both models are asked: plain ``texts``, or a task's labelled ``splits`` whose texts these are."""

    texts: tuple[Texts, ...]
    task: Task | None = None
    splits: tuple[LabelledRows, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One model on one execution provider.

    ``metrics`` are fractions by name, empty without a task, ``embedding`` is what `embedding_entry` says.
    """

    head: str
    output: str
    embedding: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    latency: Latency


@dataclass(frozen=True)
class Comparison:
    """Two models on one execution provider.

    ``drops`` are the 95 % intervals of the drop of each metric in points, ``speedup`` that of the ratio of the median
    latencies, measured on ``latency_batch`` sequences (one, unless a graph takes more only) of ``latency_tokens`` tokens.
    """

    provider: str
    baseline: Evaluation
    candidate: Evaluation
    drops: Mapping[str, Interval]
    fidelity: Fidelity
    speedup: Interval
    latency_batch: int
    latency_tokens: int

    def drop_points(self, metric: str) -> float:
        """Return how far ``metric`` drops, in points (0.01 of the metric); negative if the candidate is better."""
        return drop_points(self.baseline.metrics[metric], self.candidate.metrics[metric])


def compare(
    subjects: tuple[Subject, Subject],
    sessions: tuple[Session, Session],
    questions: Questions,
    encoder: TextEncoder,
    *,
    batch_size: int,
    seed: int,
    latency_rounds: int,
    track: Track = silent,
) -> Comparison:
    """Ask ``questions`` of baseline and candidate, open in ``sessions`` on one provider.

    Raises OptionError if their heads cannot be compared with each other or do not suit the task, ModelError if one does
    not run or returns NaN.
    """
    models = [
        OpenModel.of(name, session, subject.config, questions.task)
        for name, session, subject in zip(("baseline", "candidate"), sessions, subjects, strict=True)
    ]
    head = models[0].head
    sequences = encoder.encode(_common_sequences(models, questions.texts))
    answers = [
        model.answers(sequences, padding=encoder.padding, batch_size=batch_size, track=track) for model in models
    ]
    if answers[0].shape != answers[1].shape:
        raise OptionError(
            f"{sessions[0].label} answers with {answers[0].shape[1]} numbers and {sessions[1].label} with "
            f"{answers[1].shape[1]}; these cannot be compared"
        )
    metrics, drops = _score(questions, [model.head.predictions for model in models], answers, seed)
    median = sorted(sequences, key=len)[len(sequences) // 2]
    fixed = models[0].feeder.fixed.or_else(models[1].feeder.fixed)
    singles = [model.batches([median], padding=encoder.padding, batch_size=1, fixed=fixed)[0] for model in models]
    latencies = measure_latency(
        [
            partial(model.session.run, None, model.feeder.feeds(single))
            for model, single in zip(models, singles, strict=True)
        ],
        rounds=latency_rounds,
    )
    baseline, candidate = (
        Evaluation(model.head.kind, model.head.output, embedding_entry(model.head), scores, latency)
        for model, scores, latency in zip(models, metrics, latencies, strict=True)
    )
    return Comparison(
        provider=sessions[0].provider,
        baseline=baseline,
        candidate=candidate,
        drops=drops,
        fidelity=head.fidelity(*answers),
        speedup=speedup_interval(latencies[0].runs_ms, latencies[1].runs_ms, seed=seed),
        latency_batch=singles[0].ids.shape[0],
        latency_tokens=singles[0].ids.shape[1],
    )


def _common_sequences(models: Sequence[OpenModel], texts: Sequence[Texts]) -> list[Texts]:
    """Return what the models read; raises OptionError if their heads are not of one kind.

    Embeddings pooled in the graph and outside are one kind: the former type is the base of the latter.
    """
    first, second = (model.head for model in models)
    if not (isinstance(first, type(second)) or isinstance(second, type(first))):
        raise OptionError(
            f"{models[0].session.label} gives {first.kind} and {models[1].session.label} {second.kind}; "
            "these cannot be compared"
        )
    sequences = first.sequences(texts)
    if second.sequences(texts) != sequences:
        raise OptionError(
            f"{models[0].session.label} and {models[1].session.label} read other prompts before a text, say their files: name "
            "one for both with --prompt"
        )
    return sequences


def _score(
    questions: Questions,
    predict: Sequence[Callable[[np.ndarray], np.ndarray]],
    answers: Sequence[np.ndarray],
    seed: int,
) -> tuple[list[dict[str, float]], dict[str, Interval]]:
    """Return each model's metrics and the intervals of the drops; empty without a task."""
    scores: list[dict[str, float]] = [{} for _ in answers]
    drops: dict[str, Interval] = {}
    if questions.task is None:
        return scores, drops
    predictions = [to_prediction(found) for to_prediction, found in zip(predict, answers, strict=True)]
    start = 0
    for rows in questions.splits:
        own = slice(start, start + len(rows.texts))
        start = own.stop
        for name, metric in metrics_of(questions.task).items():
            key = name + rows.split.suffix
            for model, predicted in enumerate(predictions):
                scores[model][key] = float(metric(rows.labels, predicted[own]))
            drops[key] = drop_interval(metric, rows.labels, predictions[0][own], predictions[1][own], seed=seed)
    return scores, drops
