"""Kinds of questions: each file puts the rows of one kind before a model, and returns what the metrics of that kind take."""

from collections.abc import Mapping

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.evaluate.asking.base import Asked, Asking, Way
from squeeze_onnx.evaluate.asking.entities import ask_entities
from squeeze_onnx.evaluate.asking.labels import ask_labels
from squeeze_onnx.evaluate.asking.ranking import ask_ranking
from squeeze_onnx.evaluate.asking.spans import ask_spans
from squeeze_onnx.evaluate.asking.texts import ask_texts
from squeeze_onnx.evaluate.asking.words import ask_words
from squeeze_onnx.evaluate.open_model import OpenModel

ASKINGS: Mapping[Kind, Asking] = {
    Kind.CLASSES: ask_texts,
    Kind.LABELS: ask_labels,
    Kind.SCORES: ask_texts,
    Kind.ENTITIES: ask_entities,
    Kind.SPANS: ask_spans,
    Kind.WORDS: ask_words,
    Kind.RANKING: ask_ranking,
}
"""Kind of a task → how its rows are put before a model."""


def ask(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Ask ``model`` about ``rows`` of ``task``; without a task texts are read alone, and there is nothing to predict."""
    return (ask_texts if task is None else ASKINGS[task.kind])(task, model, rows, way)


__all__ = ["ASKINGS", "Asked", "Asking", "Way", "ask"]
