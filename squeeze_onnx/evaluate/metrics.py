"""The official GLUE metrics (Wang et al. 2019, arXiv 1804.07461, table 1), each over the last axis.

A metric takes references and predictions of shape (..., rows) and returns shape (...), so that one call scores every
resample of a bootstrap. Values are fractions: 0.87, not 87 %.
"""

from collections.abc import Callable

import numpy as np

from squeeze_onnx.data.glue import Task

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


def accuracy(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the fraction of equal classes."""
    return np.asarray(np.mean(references == predictions, axis=-1, dtype=np.float64))


def f1(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return F1 of class 1; 0 where class 1 occurs on neither side."""
    hits, false_alarms, misses, _ = _confusion(references, predictions)
    return _divide(2 * hits, 2 * hits + false_alarms + misses)


def matthews(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Matthews' correlation of two classes; 0 where a side knows one class only, as scikit-learn has it."""
    hits, false_alarms, misses, rejections = _confusion(references, predictions)
    margins = (
        (hits + false_alarms) * (hits + misses) * (rejections + false_alarms) * (rejections + misses)
    )  # float64: exact up to 2**53, and a relative rounding error beyond
    return _divide(hits * rejections - false_alarms * misses, np.sqrt(margins))


def pearson(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation; 0 where a side is constant, for a constant says nothing about the other side."""
    x = _centred(references)
    y = _centred(predictions)
    return _divide(np.sum(x * y, axis=-1), np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))


def spearman(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation: Pearson's of the ranks, ties sharing their mean; 0 where a side is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415 - takes longer to import than everything else together

    return pearson(rankdata(references, axis=-1), rankdata(predictions, axis=-1))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return the metrics that ``task`` is scored by, in its order."""
    return {name: METRICS[name] for name in task.metrics}


def drop_points(baseline: float, candidate: float) -> float:
    """Return how far a metric drops, in points (0.01 of the metric); negative if the candidate is better."""
    # Rounded, for 0.86 − 0.85 is a little more than a point in binary, and a gate of one point should let it pass.
    return round(100 * (baseline - candidate), 9)


def _confusion(references: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return counts as float64: true positives, false positives, false negatives, true negatives."""
    wanted, found = references == 1, predictions == 1
    pairs = (wanted & found, ~wanted & found, wanted & ~found, ~wanted & ~found)
    return tuple(np.asarray(np.sum(pair, axis=-1, dtype=np.float64)) for pair in pairs)


def _centred(values: np.ndarray) -> np.ndarray:
    """Subtract the mean; exactly 0 where all values are equal, whose mean may be off by a rounding."""
    values = np.asarray(values, dtype=np.float64)
    centred: np.ndarray = values - np.mean(values, axis=-1, keepdims=True)
    constant = np.ptp(values, axis=-1, keepdims=True) == 0
    return np.where(constant, 0.0, centred)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide; 0 where the denominator is 0."""
    result: np.ndarray = np.divide(
        numerator, denominator, out=np.zeros(np.shape(denominator)), where=np.asarray(denominator) > 0
    )
    return result
