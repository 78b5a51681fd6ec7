"""Correlations of scores, each over the last axis."""

import numpy as np

from squeeze_onnx.evaluate.metrics.arrays import divide


def pearson(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation; 0 where a side is constant, for a constant says nothing about the other side."""
    x = _centred(references)
    y = _centred(predictions)
    return divide(np.sum(x * y, axis=-1), np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))


def spearman(references: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation: Pearson's of the ranks, ties sharing their mean; 0 where a side is constant."""
    from scipy.stats import rankdata  # noqa: PLC0415 - takes longer to import than everything else together

    return pearson(rankdata(references, axis=-1), rankdata(predictions, axis=-1))


def _centred(values: np.ndarray) -> np.ndarray:
    """Subtract the mean; exactly 0 where all values are equal, whose mean may be off by a rounding."""
    values = np.asarray(values, dtype=np.float64)
    centred: np.ndarray = values - np.mean(values, axis=-1, keepdims=True)
    constant = np.ptp(values, axis=-1, keepdims=True) == 0
    return np.where(constant, 0.0, centred)
