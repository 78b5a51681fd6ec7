"""Whether a dense model's own score can be believed: is it better than chance, and are its classes the data's?

A gate holds a smaller model against a dense one. Where that does not know the task, or answers under other class numbers than the
data has, any model passes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.evaluate.metrics import METRICS
from squeeze_onnx.support.errors import ModelError

MUCH_BETTER = 0.2
"""By so much more accurate is another order of the classes where labels look permuted."""

ENOUGH_ROWS = 100
"""With so many, what is less than a standard error better than chance is chance."""


@dataclass(frozen=True)
class ClassOrder:
    """How classes are read: ``accuracy`` as they are, and ``best`` with class ``k`` of the data as the model's ``order[k]``."""

    accuracy: float
    best: float
    order: tuple[int, ...]

    @property
    def looks_permuted(self) -> bool:
        """Say whether another order is `MUCH_BETTER`."""
        return self.best - self.accuracy >= MUCH_BETTER - 1e-9


@dataclass(frozen=True)
class Sanity:
    """What there is to be said of a dense model's answers.

    ``value`` is its ``metric`` and ``chance`` what guesses score, None if nothing is known of it; within ``margin`` above it lies
    noise. A ``constant`` model says the same of every text, although the right answers differ. ``classes`` is None for what has
    none. ``adopted`` says that the metrics are those of the best order of classes, for no name says which is right.
    """

    metric: str
    value: float
    chance: float | None
    margin: float = 0.0
    constant: bool = False
    classes: ClassOrder | None = None
    adopted: bool = False

    @property
    def is_chance(self) -> bool:
        """Say whether the model does not know the task at all."""
        return self.chance is not None and self.value <= self.chance + self.margin

    def doubt(self, labels: Sequence[str]) -> str | None:
        """Say why a gate that the model is the measure of would be worth nothing, and the way out; None if it can stand."""
        if self.classes is not None and self.classes.looks_permuted:
            found = self.classes
            order = ", ".join(f"{number} = {name}" for number, name in sorted(zip(found.order, labels, strict=True)))
            return (
                f"its labels look permuted: the accuracy is {100 * found.accuracy:.1f} %, and {100 * found.best:.1f} % if its "
                f"classes are {order}; write the right names into id2label of its config.json"
            )
        way_out = "give a model that was trained for this task, or right id2label and labels"
        if self.constant:
            return f"it says the same of every text; {way_out}"
        if self.is_chance:
            known = f"{self.metric} is {self.value:.4f}, and guesses score {self.chance:.4f}"
            return f"it does no better than chance: {known}; {way_out}"
        return None

    def require(self, model: str, labels: Sequence[str]) -> None:
        """Raise ModelError if nothing could drop from what ``model`` scores."""
        doubt = self.doubt(labels)
        if doubt is not None:
            raise ModelError(f"no gate can be judged by {model}: {doubt}")

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return plain values."""
        classes = self.classes
        return {
            "chance": self.chance,
            "accuracy": None if classes is None else classes.accuracy,
            "best_accuracy": None if classes is None else classes.best,
            "best_order": None if classes is None else list(classes.order),
            "adopted": self.adopted,
            "doubt": self.doubt(labels),
        }


def sanity_of(
    task: Task, references: np.ndarray, predictions: np.ndarray, order: Sequence[int] | None = None
) -> Sanity:
    """Look at the ``predictions`` (rows,) of a dense model, or what else `METRICS` take, given the ``references``.

    Class ``k`` of the data is number ``order[k]`` of the model, ``k`` itself without an order.
    """
    metric = METRICS[task.primary_metric]
    value = float(metric(references, predictions))
    chance = None if metric.chance is None else metric.chance(references, max(len(task.labels), 1))
    rows = len(references)
    spread = 0.0 if metric.spread is None or chance is None else metric.spread(chance)
    margin = spread / math.sqrt(rows) if rows >= ENOUGH_ROWS else 0.0
    classes = _class_order(len(task.labels), references, predictions, order) if task.kind is Kind.CLASSES else None
    plain = task.kind in (Kind.CLASSES, Kind.SCORES)
    constant = plain and bool(np.ptp(predictions) == 0) and bool(np.ptp(references) != 0)
    return Sanity(task.primary_metric, value, chance, margin, constant, classes)


def read_in_order(predictions: np.ndarray, order: Sequence[int], best: Sequence[int]) -> np.ndarray:
    """Return ``predictions``, read with class ``k`` as the model's ``order[k]``, as if it was its ``best[k]``."""
    place = {number: k for k, number in enumerate(best)}
    return np.asarray(np.array([place[number] for number in order])[predictions])


def _class_order(
    classes: int, references: np.ndarray, predictions: np.ndarray, order: Sequence[int] | None
) -> ClassOrder:
    counts = np.zeros((classes, classes))
    np.add.at(counts, (references, predictions), 1)
    # Of equal ones the order that there is: a class that nobody names stays where it was.
    wanted, said = linear_sum_assignment(counts + 1e-6 * np.eye(classes), maximize=True)
    read = list(range(classes) if order is None else order)
    return ClassOrder(
        float(np.trace(counts)) / len(references),
        float(counts[wanted, said].sum()) / len(references),
        tuple(read[int(column)] for column in said),
    )
