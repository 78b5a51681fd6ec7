"""What a kind of questions is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.data.tokenization import TextEncoder, TokenSequence
from squeeze_onnx.evaluate.fidelity import Fidelity
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.support.progress import Track, silent


@dataclass(frozen=True)
class Way:
    """How a model is asked: its tokenizer, how many sequences at once, and who hears of the progress."""

    encoder: TextEncoder
    batch_size: int
    track: Track = silent


@dataclass(frozen=True, eq=False)
class Asked:
    """What a model read, its ``answers`` to that, (answers, features) in float64, and a prediction for each row.

    ``predictions`` are what the metrics of the kind take: (rows,), or (rows, counts) where a row is counted already.
    ``fidelity`` compares the answers of two models; None if the head does.
    """

    sequences: Sequence[TokenSequence]
    answers: np.ndarray
    predictions: np.ndarray
    fidelity: Callable[[np.ndarray, np.ndarray], Fidelity] | None = None


class Asking(Protocol):
    """Puts rows before a model; raises OptionError if its head is of another kind, ModelError for NaN or infinity."""

    def __call__(self, task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
        """Return what became of it."""
        ...
