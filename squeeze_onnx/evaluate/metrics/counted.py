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


def mean_of(column: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the metric that is the mean over the rows of one of their numbers."""

    def mean(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        return np.asarray(np.mean(predictions[..., column], axis=-1))

    return mean


def perplexity(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the exponential of the mean negative log-likelihood of a token: predictions are the sum in nats and the tokens."""
    nats, tokens = np.moveaxis(np.sum(predictions, axis=-2), -1, 0)
    return np.asarray(np.exp(divide(nats, tokens)))
