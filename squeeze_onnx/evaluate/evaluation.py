"""Ask two models the same questions on one execution provider and compare what they say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.fixed_shape import ANY_SHAPE, FixedShape
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.readers import LabelledRows, Texts
from squeeze_onnx.data.tasks import VALIDATION, Task
from squeeze_onnx.data.tokenization import TextEncoder, TokenSequence
from squeeze_onnx.evaluate.answer_heads import ClassLogits, comparable, fidelity_of
from squeeze_onnx.evaluate.asking import Asked, Way, ask
from squeeze_onnx.evaluate.bootstrap import Interval, drop_interval, speedup_interval
from squeeze_onnx.evaluate.embedding_entry import embedding_entry
from squeeze_onnx.evaluate.fidelity import Fidelity
from squeeze_onnx.evaluate.head_choice import names_classes
from squeeze_onnx.evaluate.metrics import metrics_of
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.own_data import OwnData
from squeeze_onnx.evaluate.sanity import Sanity, read_in_order, sanity_of
from squeeze_onnx.graph.io.size import ModelSize
from squeeze_onnx.runtime.latency import Latency, measure_latency
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent

Encoders = tuple[TextEncoder, TextEncoder]
"""What the baseline and the candidate read texts by; one and the same unless their tokens have other numbers."""


@dataclass(frozen=True)
class Subject:
    """A model file under test, what lies beside it, how large it is, how many tokens it embeds (None: unknown), and its shape.

    ``name`` is what people call it, its path unless they never saw that.
    """

    path: Path
    config: ModelConfig
    size: ModelSize
    vocabulary: int | None
    fixed: FixedShape = ANY_SHAPE
    name: str = ""


@dataclass(frozen=True, eq=False)
class Questions:
    """What both models are asked: plain ``texts``, or a task's labelled ``splits`` whose texts these are.

    ``own`` is what own data was read as, if it was; ``samples`` are those of saved inputs, which are asked instead of texts.
    """

    texts: tuple[Texts, ...]
    task: Task | None = None
    splits: tuple[LabelledRows, ...] = ()
    own: OwnData | None = None
    samples: int | None = None

    @property
    def rows(self) -> dict[str, int]:
        """How many rows are asked, by split, or how many texts, or samples of saved inputs."""
        if self.samples is not None:
            return {"samples": self.samples}
        return {rows.split.name: len(rows.texts) for rows in self.splits} or {"sentences": len(self.texts)}

    @property
    def asked_in_turn(self) -> tuple[LabelledRows, ...]:
        """The rows of each split, or the texts without labels."""
        return self.splits or (LabelledRows(VALIDATION, self.texts, np.zeros(len(self.texts))),)


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

    ``drop_points`` say how far each metric drops in points (`Metric.drops`), negative if the candidate is better; ``drops`` are
    the 95 % intervals of that, ``sanity`` is what there is to be said of the baseline's own metrics. ``speedup`` is the interval
    of the ratio of the median latencies, measured on ``latency_batch`` sequences (one, unless a graph takes more only) of
    ``latency_tokens`` tokens.
    """

    provider: str
    baseline: Evaluation
    candidate: Evaluation
    drop_points: Mapping[str, float]
    drops: Mapping[str, Interval]
    sanity: Sanity | None
    fidelity: Fidelity
    speedup: Interval
    latency_batch: int
    latency_tokens: int


# Over six parameters: who is asked, what, and how; all come from one configuration, which stays the caller's.
def compare(
    subjects: tuple[Subject, Subject],
    sessions: tuple[Session, Session],
    questions: Questions,
    encoders: Encoders,
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
    _check_alike(models, questions.texts)
    ways = [Way(encoder, batch_size, track) for encoder in encoders]
    asked = [
        [ask(questions.task, model, rows, way) for rows in questions.asked_in_turn]
        for model, way in zip(models, ways, strict=True)
    ]
    heads = models[0].head, models[1].head
    answers = [np.concatenate([part.answers for part in parts]) for parts in asked]
    if not comparable(heads, answers):
        raise OptionError(
            f"{sessions[0].label} answers with {answers[0].shape[1]} numbers and {sessions[1].label} with "
            f"{answers[1].shape[1]}; these cannot be compared"
        )
    sequences = [[sequence for part in parts for sequence in part.sequences] for parts in asked]
    if len(answers[0]) != len(answers[1]):
        answers = _token_by_token(answers, sequences)
    sanity, asked = _sane(questions, models, asked)
    scores = _score(questions, asked, seed)
    lengths = [len(sequence) for sequence in sequences[0]]
    median = sorted(range(len(lengths)), key=lengths.__getitem__)[len(lengths) // 2]
    fixed = models[0].feeder.fixed.or_else(models[1].feeder.fixed)
    singles = [
        model.batches([read[median]], padding=way.encoder.padding, batch_size=1, fixed=fixed)[0]
        for model, read, way in zip(models, sequences, ways, strict=True)
    ]
    latencies = measure_latency(
        [
            partial(model.session.run, None, model.feeder.feeds(single))
            for model, single in zip(models, singles, strict=True)
        ],
        rounds=latency_rounds,
    )
    baseline, candidate = (
        Evaluation(model.head.kind, model.head.output, embedding_entry(model.head), found, latency)
        for model, found, latency in zip(models, scores.metrics, latencies, strict=True)
    )
    return Comparison(
        provider=sessions[0].provider,
        baseline=baseline,
        candidate=candidate,
        drop_points=scores.drop_points,
        drops=scores.drops,
        sanity=sanity,
        fidelity=fidelity_of(heads, answers) if asked[0][0].fidelity is None else asked[0][0].fidelity(*answers),
        speedup=speedup_interval(latencies[0].runs_ms, latencies[1].runs_ms, seed=seed),
        latency_batch=singles[0].ids.shape[0],
        latency_tokens=singles[0].ids.shape[1],
    )


def _token_by_token(answers: Sequence[np.ndarray], sequences: Sequence[Sequence[TokenSequence]]) -> list[np.ndarray]:
    """Return the answers to texts that both models read as equally many tokens, where each token has answers of its own.

    Raises OptionError if there are none.
    """
    lengths = [np.array([len(sequence) for sequence in read]) for read in sequences]
    alike = lengths[0] == lengths[1] if len(lengths[0]) == len(lengths[1]) else np.zeros(1, bool)
    if not alike.any():
        raise OptionError("the tokenizers of the two models cut every text otherwise: their answers cannot be compared")
    return [found[np.repeat(alike, length)] for found, length in zip(answers, lengths, strict=True)]


def _check_alike(models: Sequence[OpenModel], texts: Sequence[Texts]) -> None:
    """Raise OptionError if the heads of ``models`` are not of one kind, or read something else before a text.

    Embeddings pooled in the graph and outside are one kind: the former type is the base of the latter.
    """
    first, second = (model.head for model in models)
    if not (isinstance(first, type(second)) or isinstance(second, type(first))):
        raise OptionError(
            f"{models[0].session.label} gives {first.kind} and {models[1].session.label} {second.kind}; "
            "these cannot be compared"
        )
    if second.sequences(texts) != first.sequences(texts):
        raise OptionError(
            f"{models[0].session.label} and {models[1].session.label} read other prompts before a text, say their files: name "
            "one for both with `prompt`"
        )


@dataclass(frozen=True)
class _Scores:
    """The metrics of each model, how far each drops, and the intervals of that."""

    metrics: tuple[dict[str, float], ...]
    drop_points: dict[str, float]
    drops: dict[str, Interval]


def _sane(
    questions: Questions, models: Sequence[OpenModel], asked: list[list[Asked]]
) -> tuple[Sanity | None, list[list[Asked]]]:
    """Look at the answers of the first model; where its classes look permuted and no name says otherwise, they are read anew."""
    if questions.task is None:
        return None, asked
    head, first = models[0].head, questions.splits[0].labels
    order = head.order if isinstance(head, ClassLogits) else None
    sanity = sanity_of(questions.task, first, asked[0][0].predictions, order, asked[0][0].beside)
    named = any(names_classes(model.config) for model in models)
    if order is None or sanity.classes is None or not sanity.classes.looks_permuted or named:
        return sanity, asked
    best = sanity.classes.order
    read = [
        [replace(part, predictions=read_in_order(part.predictions, order, best)) for part in parts] for parts in asked
    ]
    return replace(sanity, adopted=True), read


def _score(questions: Questions, asked: Sequence[Sequence[Asked]], seed: int) -> _Scores:
    """Return what the metrics of the task say; nothing without a task."""
    scores = _Scores(tuple({} for _ in asked), {}, {})
    if questions.task is None:
        return scores
    for number, rows in enumerate(questions.splits):
        baseline, candidate = (parts[number].predictions for parts in asked)
        for name, metric in metrics_of(questions.task).items():
            key = name + rows.split.suffix
            for found, predicted in zip(scores.metrics, (baseline, candidate), strict=True):
                found[key] = float(metric(rows.labels, predicted))
            scores.drop_points[key] = metric.drop_points(*(found[key] for found in scores.metrics))
            scores.drops[key] = drop_interval(metric, rows.labels, baseline, candidate, seed=seed)
    return scores
