"""What a kind of questions is."""

from collections.abc import Callable, Iterator, Sequence
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
class Beside:
    """What answers can be held against to see whether a model knows the task at all; None for a kind that has no such.

    ``guesses`` makes what the metrics take, (draws, rows, counts), of answers that were given without a look at the rows;
    ``names`` makes what words are called and what the model calls them, (words,) each.
    """

    guesses: Callable[[], np.ndarray] | None = None
    names: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None


NOTHING_BESIDE = Beside()


DRAWS = 5


def shuffles(count: int, draws: int = DRAWS) -> Iterator[np.ndarray]:
    """Yield ``draws`` orders of ``count`` things, the same every time: an answer to another row is a guess of this one."""
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield rng.permutation(count)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a model read, its ``answers`` to that, (answers, features) in float64, and a prediction for each row.

    ``predictions`` are what the metrics of the kind take: (rows,), or (rows, counts) where a row is counted already.
    ``fidelity`` compares the answers of two models; None if the head does. ``beside`` tells how far they can be believed.
    """

    sequences: Sequence[TokenSequence]
    answers: np.ndarray
    predictions: np.ndarray
    fidelity: Callable[[np.ndarray, np.ndarray], Fidelity] | None = None
    beside: Beside = NOTHING_BESIDE


class Asking(Protocol):
    """Puts rows before a model; raises OptionError if its head is of another kind, ModelError for NaN or infinity."""

    def __call__(self, task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
        """Return what became of it."""
        ...
