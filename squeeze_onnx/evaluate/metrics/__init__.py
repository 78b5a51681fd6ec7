"""Metrics by name, for GLUE's tasks (Wang et al. 2019, arXiv 1804.07461, table 1) and for own ones.

A metric takes references and predictions of shape (..., rows) and returns shape (...), so that one call scores every
resample of a bootstrap. Values are fractions: 0.87, not 87 %; but for perplexities.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.data.glue import plain
from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.evaluate.metrics import classes, counted, scores
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.suggestions import did_you_mean

Values = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """How good answers to questions of one ``kind`` are: ``values`` of references and predictions.

    ``chance`` is what guesses score, given the references and the number of classes; None if nothing is known of it.
    ``spread`` of that is the standard deviation of such a score of one row, so that the standard error of many is known; None if
    it is not. A metric that is ``rising`` is better if it is higher. ``of_two`` classes only. A caller's own has no ``kind``: it
    takes numbers of classes or scores, whichever the model answers with.
    """

    kind: Kind | None
    values: Values
    chance: Callable[[np.ndarray, int], float] | None = None
    spread: Callable[[float], float] | None = None
    rising: bool = True
    of_two: bool = False

    def __call__(self, references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """Return the metric, (...)."""
        return self.values(references, predictions)

    def drops(self, baseline: np.ndarray, candidate: np.ndarray) -> np.ndarray:
        """Return how far it drops, in points: hundredths of the metric, or per cent by which one rises that is to fall."""
        if self.rising:
            return np.asarray(100 * (baseline - candidate))
        return np.asarray(100 * (candidate / baseline - 1))

    def drop_points(self, baseline: float, candidate: float) -> float:
        """Return how far it drops, in points; negative if the candidate is better."""
        # Rounded, for 0.86 − 0.85 is a little more than a point in binary, and a gate of one point should let it pass.
        return round(float(self.drops(np.asarray(baseline), np.asarray(candidate))), 9)


def _guess(references: np.ndarray, classes: int) -> float:
    return 1 / classes


def _f1_of_guesses(references: np.ndarray, classes: int) -> float:
    share = float(np.mean(references == 1))
    return share / (share + 1 / 2)


def _macro_f1_of_guesses(references: np.ndarray, classes: int) -> float:
    shares = np.unique(references, return_counts=True)[1] / len(references)
    return float(np.mean(2 * shares / (classes * shares + 1)))


def _nothing(references: np.ndarray, classes: int) -> float:
    return 0.0


def _of_a_hit(chance: float) -> float:
    return math.sqrt(chance * (1 - chance))


def _of_a_correlation(chance: float) -> float:
    return 1.0


METRICS: dict[str, Metric] = {
    "accuracy": Metric(Kind.CLASSES, classes.accuracy, _guess, _of_a_hit),
    "f1": Metric(Kind.CLASSES, classes.f1, _f1_of_guesses, of_two=True),
    "f1_macro": Metric(Kind.CLASSES, classes.f1_macro, _macro_f1_of_guesses),
    "f1_micro": Metric(Kind.CLASSES, classes.f1_micro, _guess, _of_a_hit),
    "matthews": Metric(Kind.CLASSES, classes.matthews, _nothing, _of_a_correlation),
    "labels_f1": Metric(Kind.LABELS, counted.labels_f1, _nothing),
    "labels_f1_macro": Metric(Kind.LABELS, counted.labels_f1_macro, _nothing),
    "labels_accuracy": Metric(Kind.LABELS, counted.labels_equal, _nothing),
    "pearson": Metric(Kind.SCORES, scores.pearson, _nothing, _of_a_correlation),
    "spearman": Metric(Kind.SCORES, scores.spearman, _nothing, _of_a_correlation),
    "entity_f1": Metric(Kind.ENTITIES, counted.entity_f1, _nothing),
    "exact_match": Metric(Kind.SPANS, counted.mean_of(0), _nothing),
    "span_f1": Metric(Kind.SPANS, counted.mean_of(1), _nothing),
    "ndcg@10": Metric(Kind.RANKING, counted.mean_of(0), _nothing),
    "mrr@10": Metric(Kind.RANKING, counted.mean_of(1), _nothing),
    "recall@100": Metric(Kind.RANKING, counted.mean_of(2)),
    "perplexity": Metric(Kind.WORDS, counted.perplexity, rising=False),
    "pseudo_perplexity": Metric(Kind.WORDS, counted.perplexity, rising=False),
}
"""Name → metric; those of one kind are scored by one look at the model."""

_OTHER_NAMES = {
    "acc": "accuracy",
    "binaryf1": "f1",
    "f1binary": "f1",
    "macrof1": "f1_macro",
    "microf1": "f1_micro",
    "mcc": "matthews",
    "matthewscorrelation": "matthews",
    "seqeval": "entity_f1",
    "em": "exact_match",
    "exact": "exact_match",
    "squadf1": "span_f1",
    "ndcg": "ndcg@10",
    "mrr": "mrr@10",
    "recall": "recall@100",
}
"""Plain spelling → name."""

USUAL: Mapping[Kind, tuple[str, ...]] = {
    Kind.CLASSES: ("accuracy", "f1_macro"),
    Kind.LABELS: ("labels_f1", "labels_f1_macro", "labels_accuracy"),
    Kind.SCORES: ("spearman", "pearson"),
    Kind.ENTITIES: ("entity_f1",),
    Kind.SPANS: ("span_f1", "exact_match"),
    Kind.RANKING: ("ndcg@10", "mrr@10", "recall@100"),
}
"""What is measured unless metrics are named, the primary one first."""


OF_LABELS: Mapping[str, str] = {
    "f1": "labels_f1",
    "f1_micro": "labels_f1",
    "f1_macro": "labels_f1_macro",
    "accuracy": "labels_accuracy",
}
"""A metric of classes → that of the same name where a text has any number of labels, as scikit-learn has them."""


def find_metric(name: str) -> str:
    """Return the name of the metric that is spelled ``name``; raises OptionError naming all."""
    spelled = {plain(known): known for known in METRICS} | _OTHER_NAMES
    if plain(name) not in spelled:
        raise OptionError(f"`metric` is one of {', '.join(METRICS)}; got {name!r}{did_you_mean(name, METRICS)}")
    return spelled[plain(name)]


def find_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of metrics of one kind, each once; raises OptionError for an unknown one, and for several kinds."""
    found = tuple(dict.fromkeys(map(find_metric, names)))
    kinds = list(dict.fromkeys(kind for name in found if (kind := METRICS[name].kind) is not None))
    if len(kinds) > 1:
        raise OptionError(
            f"`metric` {found[0]} is about {kinds[0]}, and others of {', '.join(found)} about {kinds[1]}: name those of one kind"
        )
    return found


@contextmanager
def known_metric(function: Callable[[np.ndarray, np.ndarray], float]) -> Iterator[str]:
    """Let ``function`` of references and predictions, (rows,) each, be a metric, better if it is higher; yields its name.

    Raises OptionError if one of this package has that name.
    """
    name = getattr(function, "__name__", type(function).__name__).strip("<>")
    if plain(name) in {plain(known) for known in METRICS} | {*_OTHER_NAMES}:
        raise OptionError(f"`metric` {name} is one of this package: give the function another name")

    def values(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        both = np.broadcast_arrays(references, predictions)
        rows = zip(*(each.reshape(-1, each.shape[-1]) for each in both), strict=True)
        return np.reshape([float(function(*row)) for row in rows], both[0].shape[:-1])

    METRICS[name] = Metric(None, values)
    try:
        yield name
    finally:
        del METRICS[name]


def drop_points(baseline: float, candidate: float) -> float:
    """Return how far a metric that is better if it is higher drops, in points (0.01 of it)."""
    return METRICS["accuracy"].drop_points(baseline, candidate)


def change_of(name: str, drop_points: float) -> str:
    """Say how far the metric ``name`` drops, or rises if that is worse: "drops by 1.25 points", "rises by 1.25 %"."""
    verb = "drops" if (drop_points >= 0) is METRICS[name].rising else "rises"
    return f"{verb} by {abs(drop_points):.2f} {unit_of(name)}"


def unit_of(name: str) -> str:
    """Return what the metric ``name`` changes in: points, or % where it is better if it is lower."""
    return "points" if METRICS[name].rising else "%"


def worsening_of(name: str) -> str:
    """Say what the metric ``name`` does where it gets worse: it is a drop, or a rise."""
    return "drop" if METRICS[name].rising else "rise"


def cannot_tell(interval: Sequence[float], allowed: float) -> bool:
    """Whether what is ``allowed`` lies within the 95 % ``interval`` of a drop: on other rows the gate might say otherwise."""
    low, high = interval
    return low <= allowed < high


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return the metrics that ``task`` is scored by, in its order."""
    return {name: METRICS[name] for name in task.metrics}
