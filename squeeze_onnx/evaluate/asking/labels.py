"""Labels of a text, any number of them: which are said, and which of those are right."""

from dataclasses import replace

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.asking.base import Asked, Beside, Way, shuffles
from squeeze_onnx.evaluate.asking.texts import ask_texts
from squeeze_onnx.evaluate.open_model import OpenModel


def ask_labels(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return for every row and label whether it is right, said and wanted: (rows, labels · 3)."""
    assert task is not None, "texts without labels are not asked about"
    asked = ask_texts(task, model, rows, way)
    said = asked.predictions
    wanted = np.zeros_like(said)
    for row, numbers in enumerate(rows.labels):
        wanted[row, list(numbers)] = True
    return replace(
        asked,
        predictions=_counts(wanted, said),
        beside=Beside(lambda: np.array([_counts(wanted, said[order]) for order in shuffles(len(said))])),
    )


def _counts(wanted: np.ndarray, said: np.ndarray) -> np.ndarray:
    return np.stack([said & wanted, said, wanted], axis=2).reshape(len(said), -1).astype(np.float64)
