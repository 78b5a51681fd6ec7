"""Texts and pairs: a class or a score each."""

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.asking.base import Asked, Way
from squeeze_onnx.evaluate.open_model import OpenModel


def ask_texts(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return class numbers in the data set's order, or scores; nothing without a ``task``."""
    sequences = way.encoder.encode(model.head.sequences(rows.texts))
    answers = model.answers(sequences, padding=way.encoder.padding, batch_size=way.batch_size, track=way.track)
    return Asked(sequences, answers, np.empty(0) if task is None else model.head.predictions(answers))
