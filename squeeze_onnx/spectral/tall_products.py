"""Products of tall blocks of rows, (tokens, features): multiplied in float32, summed in float64.

Activations are float32 as they come. A product over a block of some thousand tokens errs, entry by entry, by less than 1e-6 of
the norms of the two columns that it is of, so features that are 10³ times as large as others spoil none of theirs, and sums over
many blocks lose nothing further. It takes half the time of float64. What that leaves uncertain is far below a ridge, and below
what `squeeze_onnx.spectral.moments` adds to a diagonal.
"""

from typing import Any

import numpy as np
from scipy.linalg.blas import dsyrk, ssyrk

BLOCK_TOKENS = 4096
"""So many rows are multiplied at once: a sum reads and writes the whole matrix."""

_MIRRORED = 256
"""So many rows of a lower triangle are written at once."""

_SAFE = 1e15
"""Squares of what is between this and one over this are float32 numbers."""


class GramBlocks:
    """XᵀX (features, features) and the sum of X (features,), block by block.

    ``summed_in`` is float64, or float32 for what need not be known better: it takes half the memory, and less time.
    """

    def __init__(self, features: int, summed_in: type[np.floating[Any]] = np.float64) -> None:
        # Only the upper triangle is added to; Fortran order is BLAS's own.
        self._upper = np.zeros((features, features), dtype=summed_in, order="F")
        self.total = np.zeros(features)

    def add(self, rows: np.ndarray) -> None:
        """Take in a block (tokens, features)."""
        exact = to_multiply(rows)
        syrk = dsyrk if exact.dtype == np.float64 else ssyrk
        if exact.dtype == self._upper.dtype:
            syrk(1.0, exact.T, beta=1.0, c=self._upper, overwrite_c=True)
        else:
            self._upper += syrk(1.0, exact.T).astype(self._upper.dtype, copy=False)
        self.total += rows.sum(axis=0, dtype=np.float64)

    def gram(self) -> np.ndarray:
        """Return what was summed so far, both triangles of it: not a copy, it may be large."""
        whole = self._upper
        for start in range(0, len(whole), _MIRRORED):
            rows = slice(start, start + _MIRRORED)
            whole[rows, :start] = whole[:start, rows].T
            whole[rows, rows] = np.triu(whole[rows, rows]) + np.triu(whole[rows, rows], 1).T
        return whole


class CrossBlocks:
    """XᵀY (features of X, features of Y) and the sum of Y, in float64, block by block."""

    def __init__(self, features: int, other: int) -> None:
        self.cross = np.zeros((features, other))
        self.total = np.zeros(other)

    def add(self, rows: np.ndarray, others: np.ndarray) -> None:
        """Take in a block of X (tokens, features) and Y (tokens, other)."""
        self.cross += to_multiply(rows).T @ to_multiply(others)
        self.total += others.sum(axis=0, dtype=np.float64)


def to_multiply(rows: np.ndarray) -> np.ndarray:
    """Return ``rows`` as they are multiplied: in float64 if they are, or if float32 cannot hold their squares."""
    if rows.dtype == np.float64:
        return rows
    peak = float(np.abs(rows).max(initial=0.0))
    fits = peak == 0 or 1 / _SAFE < peak < _SAFE
    return rows.astype(np.float32 if fits else np.float64, copy=False)
