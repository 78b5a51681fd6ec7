"""Metrics of classes, each over the last axis: references and predictions are class numbers (..., rows).

They are those of scikit-learn, of whole stacks of resamples at once.
"""

import numpy as np

from squeeze_onnx.evaluate.metrics.arrays import divide


def accuracy(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the fraction of equal classes."""
    return np.asarray(np.mean(references == predictions, axis=-1, dtype=np.float64))


def f1(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return F1 of class 1; 0 where class 1 occurs on neither side."""
    hits, false_alarms, misses, _ = _confusion(references, predictions)
    return divide(2 * hits, 2 * hits + false_alarms + misses)


def f1_macro(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the mean over the classes, of those that occur on either side, of the F1 of each."""
    counts = _counts(references, predictions)
    occurring = np.sum(counts[:, 1] + counts[:, 2] > 0, axis=0)
    return divide(np.sum(divide(2 * counts[:, 0], counts[:, 1] + counts[:, 2]), axis=0), occurring)


def f1_micro(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the F1 of all classes counted together, which is the accuracy where every row has one class."""
    return accuracy(references, predictions)


def matthews(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Matthews' correlation; 0 where a side knows one class only, as scikit-learn has it.

    Of more than two classes it is that of Gorodkin (2004, Computational Biology and Chemistry 28, R_K).
    """
    if max(np.max(references, initial=0), np.max(predictions, initial=0)) > 1:
        return _matthews_of_many(references, predictions)
    hits, false_alarms, misses, rejections = _confusion(references, predictions)
    margins = (
        (hits + false_alarms) * (hits + misses) * (rejections + false_alarms) * (rejections + misses)
    )  # float64: exact up to 2**53, and a relative rounding error beyond
    return divide(hits * rejections - false_alarms * misses, np.sqrt(margins))


def _matthews_of_many(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    counts, rows = _counts(references, predictions), references.shape[-1]
    hits, wanted, found = np.sum(counts[:, 0], axis=0), counts[:, 1], counts[:, 2]
    both = rows * hits - np.sum(wanted * found, axis=0)
    spread = [rows**2 - np.sum(np.square(side), axis=0) for side in (wanted, found)]
    return divide(both, np.sqrt(spread[0] * spread[1]))


def _counts(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return for every class how many rows are right, have it and are said to have it: (classes, 3, ...), float64."""
    classes = np.union1d(references, predictions)
    return np.array(
        [
            [
                np.sum((references == number) & (predictions == number), axis=-1),
                np.sum(references == number, axis=-1),
                np.sum(predictions == number, axis=-1),
            ]
            for number in classes
        ],
        dtype=np.float64,
    )


def _confusion(references: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return counts as float64: true positives, false positives, false negatives, true negatives."""
    wanted, found = references == 1, predictions == 1
    pairs = (wanted & found, ~wanted & found, wanted & ~found, ~wanted & ~found)
    return tuple(np.asarray(np.sum(pair, axis=-1, dtype=np.float64)) for pair in pairs)
