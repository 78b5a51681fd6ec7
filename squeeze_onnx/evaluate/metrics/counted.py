"""Metrics of rows that were counted: predictions (..., rows, counts) say what each row has, and are summed over the rows.

What an answer is held against (names of things, spans of text, ranks of documents) is then no matter of arrays any more: see
`squeeze_onnx.evaluate.asking`, where rows are counted.
"""

from collections.abc import Callable

import numpy as np

from squeeze_onnx.evaluate.metrics.arrays import divide


def entity_f1(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the F1 of all entities: predictions are the numbers of those that are right, were found and are wanted."""
    right, found, wanted = np.moveaxis(np.sum(predictions, axis=-2), -1, 0)
    return divide(2 * right, found + wanted)


def labels_f1(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the F1 of all labels counted together; predictions (..., rows, labels · 3): whether one is right, said, wanted."""
    right, said, wanted = _over_rows(predictions)
    return divide(2 * np.sum(right, axis=-1), np.sum(said + wanted, axis=-1))


def labels_f1_macro(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the mean over all labels of the F1 of each, 0 for one that neither side has, as scikit-learn has it."""
    right, said, wanted = _over_rows(predictions)
    return np.asarray(np.mean(divide(2 * right, said + wanted), axis=-1))


def labels_equal(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the share of rows of which all labels are said, and no other."""
    _, said, wanted = np.moveaxis(_by_label(predictions), -1, 0)
    return np.asarray(np.mean(np.all(said == wanted, axis=-1), axis=-1))


def _by_label(predictions: np.ndarray) -> np.ndarray:
    return predictions.reshape(*predictions.shape[:-1], -1, 3)


def _over_rows(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    right, said, wanted = np.moveaxis(np.sum(_by_label(predictions), axis=-3), -1, 0)
    return right, said, wanted


def mean_of(column: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the metric that is the mean over the rows of one of their numbers."""

    def mean(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        return np.asarray(np.mean(predictions[..., column], axis=-1))

    return mean


def perplexity(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the exponential of the mean negative log-likelihood of a token: predictions are the sum in nats and the tokens."""
    nats, tokens = np.moveaxis(np.sum(predictions, axis=-2), -1, 0)
    return np.asarray(np.exp(divide(nats, tokens)))
