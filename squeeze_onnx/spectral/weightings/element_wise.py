"""TFWSVD: each entry of the weight counts by its own Fisher information.

Hua, Hsu, Wang, Lou, Shen & Jin (2022), "Numerical optimizations for weighted low-rank estimation on language models", arXiv
2211.09718: min over factors A, B of ‖√F ∘ (W − A B)‖_F². No SVD solves this unless F has rank one (Srebro & Jaakkola 2003,
"Weighted low-rank approximations"). So the SVD under rank-one weights with the row and column sums of F is where it starts; then,
in turns, each row of A is a least-squares problem given B, and each column of B given A. Where the paper descends by Adam,
conjugate gradients take a few steps on each, and no step raises the error.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from squeeze_onnx.spectral.decompositions import Decomposition, Factors
from squeeze_onnx.spectral.fisher_moments import ElementFisher
from squeeze_onnx.spectral.moments import damping
from squeeze_onnx.spectral.weightings.base import balanced

FLOOR = 1e-3
"""What an entry counts at least, relative to the mean: one that never mattered on the text is not free to be anything."""

SWEEPS = 10
STEPS = 3
"""Turns at most, and steps of conjugate gradients in each half of one."""

ENOUGH = 1e-3
"""A turn that lowers the error by less than this part is the last."""


@dataclass(frozen=True)
class ElementWeightedMatrix:
    """The weight under the rank-one importance √(u vᵀ), which its ``matrix`` is scaled by, and all that refines a truncation."""

    matrix: np.ndarray
    weight: np.ndarray
    importance: np.ndarray
    extra_rank: int = 0

    def factors(self, decomposition: Decomposition, rank: int) -> Factors:
        """The truncation under rank-one weights, refined under those of all entries."""
        rows, columns = _scales(self.importance)
        start = decomposition.factors(rank)
        unscaled = Factors(start.left / np.sqrt(rows)[:, None], start.right / np.sqrt(columns))
        return refine(self.weight, self.importance, unscaled)[0] if rank else unscaled


@dataclass(frozen=True)
class ElementWise:
    """The Fisher information of every entry."""

    fisher: ElementFisher

    def apply(self, weight: np.ndarray) -> ElementWeightedMatrix:
        """Scale ``weight`` (in, out) by the nearest rank-one importance."""
        exact = weight.astype(np.float64, copy=False)
        importance = self.fisher.elements
        importance = importance + max(FLOOR * float(importance.mean()), np.finfo(np.float64).tiny)
        rows, columns = _scales(importance)
        return ElementWeightedMatrix(np.sqrt(rows)[:, None] * exact * np.sqrt(columns), exact, importance)


def refine(
    weight: np.ndarray, importance: np.ndarray, factors: Factors, sweeps: int = SWEEPS
) -> tuple[Factors, tuple[float, ...]]:
    """Lower Σ F_ij (W − A B)_ij² from ``factors``; ``weight`` W and ``importance`` F > 0 are (in, out).

    Returns the factors and the error before and after each turn, which never rises.
    """
    left, right = factors.left, factors.right
    errors = [_error(weight, importance, left, right)]
    for _ in range(sweeps):
        better = _lower(weight, importance, left, right)
        left, right = better, _lower(weight.T, importance.T, right.T, better.T).T
        errors.append(_error(weight, importance, left, right))
        if errors[-2] - errors[-1] <= ENOUGH * errors[-2]:
            break
    return balanced(left, right), tuple(errors)


def _error(weight: np.ndarray, importance: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    return float(np.vdot(importance, np.square(weight - left @ right)))


def _lower(weight: np.ndarray, importance: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return a better ``left`` for this ``right``: some steps of conjugate gradients, on all rows at once.

    With F ≈ u vᵀ the normal matrix of row i is u_i · B diag(v) Bᵀ; that is the preconditioner.
    """
    rows, columns = _scales(importance)
    gram = (right * columns) @ right.T
    gram[np.diag_indices_from(gram)] += damping(gram)
    root = scipy.linalg.cho_factor(gram, check_finite=False)

    def precondition(gradient: np.ndarray) -> np.ndarray:
        solved: np.ndarray = scipy.linalg.cho_solve(root, gradient.T, check_finite=False).T / rows[:, None]
        return solved

    residual = (importance * (weight - left @ right)) @ right.T
    direction = precondition(residual)
    slope = _row_dots(residual, direction)
    for _ in range(STEPS):
        curved = (importance * (direction @ right)) @ right.T
        length = _quotient(slope, _row_dots(direction, curved))
        left = left + length * direction
        residual = residual - length * curved
        steepest = precondition(residual)
        before, slope = slope, _row_dots(residual, steepest)
        direction = steepest + _quotient(slope, before) * direction
    return left


def _scales(importance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return u (in,) and v (out,), positive, whose product u vᵀ has the row and column sums of ``importance``."""
    rows, columns = importance.sum(axis=1), importance.sum(axis=0)
    return rows, columns / columns.sum()


def _row_dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    dots: np.ndarray = np.einsum("ij,ij->i", left, right)[:, None]
    return dots


def _quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; 0 where a row has nothing left to gain."""
    result: np.ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return result
