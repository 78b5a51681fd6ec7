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
from squeeze_onnx.evaluate.asking.base import NOTHING_BESIDE, Beside, shuffles
from squeeze_onnx.evaluate.metrics import METRICS, Metric
from squeeze_onnx.support.errors import ModelError

MUCH_BETTER = 0.2
"""By so much more accurate is another order of the classes where labels look permuted."""

ENOUGH_ROWS = 100
"""With so many, what is less than a standard error better than chance is chance."""

_CORRELATIONS = ("pearson", "spearman")
_OUTSIDE = "O"
_DRAWS = 32
"""Orders that classes are put into to see what they score without a look at the texts."""


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
class NameOrder:
    """How words are named: the share of ``right`` names, and ``best`` if each of the model's is read as another, (its, right)."""

    right: float
    best: float
    pairs: tuple[tuple[str, str], ...]

    @property
    def looks_permuted(self) -> bool:
        """Say whether other names are `MUCH_BETTER`."""
        return self.best - self.right >= MUCH_BETTER - 1e-9


@dataclass(frozen=True)
class Sanity:
    """What there is to be said of a dense model's answers.

    ``value`` is its ``metric`` and ``chance`` what guesses score, None if nothing is known of it; within ``margin`` of it lies
    noise. A ``constant`` model says the same of every text, although the right answers differ. ``classes`` is None for what has
    none, and so is ``names`` where no word has one. ``adopted`` says that the metrics are those of the best order of classes, for
    no name says which is right.
    """

    metric: str
    value: float
    chance: float | None
    margin: float = 0.0
    constant: bool = False
    classes: ClassOrder | None = None
    adopted: bool = False
    names: NameOrder | None = None

    @property
    def is_chance(self) -> bool:
        """Say whether the model does not know the task at all."""
        if self.chance is None:
            return False
        known = METRICS.get(self.metric)
        rising = known is None or known.rising
        return self.value <= self.chance + self.margin if rising else self.value >= self.chance - self.margin

    def doubt(self, labels: Sequence[str]) -> str | None:
        """Say why a gate that the model is the measure of would be worth nothing, and the way out; None if it can stand."""
        if self.classes is not None and self.classes.looks_permuted:
            found = self.classes
            order = ", ".join(f"{number} = {name}" for number, name in sorted(zip(found.order, labels, strict=True)))
            return (
                f"its labels look permuted: the accuracy is {100 * found.accuracy:.1f} %, and {100 * found.best:.1f} % if its "
                f"classes are {order}; write the right names into id2label of its config.json"
            )
        if self.names is not None and self.names.looks_permuted:
            read = ", ".join(f"{said} is {name}" for said, name in self.names.pairs if said != name)
            return (
                f"its labels look permuted: {100 * self.names.right:.1f} % of the names are right, and "
                f"{100 * self.names.best:.1f} % if {read}; write the right names into id2label of its config.json"
            )
        way_out = "give a model that was trained for this task, or right id2label and labels"
        if self.constant:
            return f"it says the same of every text; {way_out}"
        if self.metric in _CORRELATIONS and self.value <= -MUCH_BETTER:
            return (
                f"its scores fall where those of the data rise: {self.metric} is {self.value:.4f}; turn the labels round, or "
                "give a model that was trained for this task"
            )
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
    task: Task,
    references: np.ndarray,
    predictions: np.ndarray,
    order: Sequence[int] | None = None,
    beside: Beside = NOTHING_BESIDE,
) -> Sanity:
    """Look at the ``predictions`` (rows,) of a dense model, or what else `METRICS` take, given the ``references``.

    Chance is what guesses of every class score, or what the model's own answers score as those to other rows, the better of both.

    Class ``k`` of the data is number ``order[k]`` of the model, ``k`` itself without an order.
    """
    metric = METRICS[task.primary_metric]
    value = float(metric(references, predictions))
    chance, margin = _chance(metric, task, references, predictions, beside)
    classes = _class_order(len(task.labels), references, predictions, order) if task.kind is Kind.CLASSES else None
    plain = task.kind in (Kind.CLASSES, Kind.SCORES)
    constant = plain and bool(np.ptp(predictions) == 0) and bool(np.ptp(references) != 0)
    names = None if beside.names is None else _name_order(*beside.names())
    return Sanity(task.primary_metric, value, chance, margin, constant, classes, names=names)


def _chance(
    metric: Metric, task: Task, references: np.ndarray, predictions: np.ndarray, beside: Beside
) -> tuple[float | None, float]:
    """Return what guesses score, None if nothing is known of it, and the standard error of that on as many rows."""
    rows = len(references)
    chance = None if metric.chance is None else metric.chance(references, max(len(task.labels), 1))
    spread = 0.0 if metric.spread is None or chance is None else metric.spread(chance) / math.sqrt(rows)
    drawn = None
    if beside.guesses is not None:
        drawn = np.asarray(metric(references, beside.guesses()))
    elif task.kind is Kind.CLASSES and metric.kind is not None:
        others = np.array([predictions[turned] for turned in shuffles(rows, _DRAWS)])
        drawn = np.asarray(metric(np.broadcast_to(references, others.shape), others))
    if drawn is not None:
        level, deviation = float(np.mean(drawn)), float(np.std(drawn, ddof=1)) if len(drawn) > 1 else 0.0
        if chance is None or level - 2 * deviation / math.sqrt(len(drawn)) > chance:
            chance, spread = level, deviation
    return chance, spread if rows >= ENOUGH_ROWS else 0.0


def _name_order(wanted: np.ndarray, said: np.ndarray) -> NameOrder | None:
    """Look at names of words as a whole, and at words that are named on both sides; return what is gained the more by."""
    named = (wanted != _OUTSIDE) & (said != _OUTSIDE)
    orders = [_best_names(wanted[each], said[each]) for each in (np.ones(len(wanted), bool), named) if each.any()]
    return max(orders, key=lambda order: order.best - order.right, default=None)


def _best_names(wanted: np.ndarray, said: np.ndarray) -> NameOrder:
    names = np.union1d(wanted, said)
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (np.searchsorted(names, wanted), np.searchsorted(names, said)), 1)
    rows, columns = linear_sum_assignment(counts + 1e-6 * np.eye(len(names)), maximize=True)
    pairs = tuple((str(names[said]), str(names[right])) for right, said in zip(rows, columns, strict=True))
    return NameOrder(float(np.trace(counts)) / len(wanted), float(counts[rows, columns].sum()) / len(wanted), pairs)


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
