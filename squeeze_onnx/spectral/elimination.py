"""Which neurons of a feed-forward block can go, and what the others do in their place.

Backward elimination as in the Optimal Brain Surgeon (Hassibi & Stork 1993; for whole rows of a weight, ZipLM, Kurtić et al.
2023): with H = hᵀh the second moment of the neurons' outputs and W (neurons, out) the weight that reads them, taking out
neuron j and refitting the others costs ‖w_j‖²/[H⁻¹]_jj; the cheapest go, W and H⁻¹ are updated, and so on. Moments are
centred where a bias can take up what the means did. Arrays only.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotri

RIDGE = 0.01
"""Added to the diagonal of the second moment, relative to its mean."""

ROUNDS = 24
"""Each round takes out one of so many of the neurons that are left; more rounds, better order, more time."""

WIDE = 512
"""From so many neurons on, what stays is a multiple of `STEP`, which matrix kernels like."""

STEP = 8


@dataclass(frozen=True)
class Elimination:
    """The order in which neurons go, and what is lost.

    order: all neurons, the first to go first. sizes: some numbers of neurons that stay, descending from all of them.
    errors: the squared error of the block's output at each size, as a mean over tokens.
    """

    order: np.ndarray
    sizes: np.ndarray
    errors: np.ndarray

    def kept(self, size: int) -> np.ndarray:
        """Return the ``size`` neurons that stay longest, ascending."""
        return np.sort(self.order[len(self.order) - size :])


def eliminate(moment: np.ndarray, weight: np.ndarray) -> Elimination:
    """Take out neuron after neuron, given their second moment (neurons, neurons) and ``weight`` (neurons, out), float64."""
    neurons = len(moment)
    step = STEP if neurons >= WIDE else 1
    inverse = _inverse(damped(moment))
    names, left = np.arange(neurons), np.arange(neurons)
    weight = weight.copy()
    order: list[int] = []
    sizes, errors = [neurons], [0.0]
    while len(left) > step:
        size = (len(left) - max(len(left) // ROUNDS, 1)) // step * step
        costs = np.einsum("no,no->n", weight, weight)[left] / np.diagonal(inverse)[left]
        goes, left = np.split(left[np.argsort(costs, kind="stable")], [len(left) - size])
        left.sort()
        across = _columns(inverse, goes)
        root = scipy.linalg.cholesky(across[goes], lower=True, check_finite=False)
        others, outputs = (
            scipy.linalg.solve_triangular(root, right, lower=True, check_finite=False)
            for right in (across.T, weight[goes])
        )
        order.extend(names[goes])
        sizes.append(size)
        errors.append(errors[-1] + float(np.vdot(outputs, outputs)))
        weight -= others.T @ outputs
        inverse = dsyrk(-1.0, others, trans=1, beta=1.0, c=inverse, overwrite_c=True)
        if 4 * size < 3 * len(names):  # what is gone is not updated for long
            names, weight, inverse = names[left], weight[left], np.asfortranarray(inverse[np.ix_(left, left)])
            left = np.arange(size)
    return Elimination(np.array([*order, *names[left]]), np.array(sizes), np.array(errors))


def _inverse(moment: np.ndarray) -> np.ndarray:
    """Return the upper triangle of the inverse of ``moment``, positive definite; Fortran order, as BLAS updates it in place."""
    root = scipy.linalg.cholesky(
        moment.T, overwrite_a=True, check_finite=False
    )  # symmetric, and in the order of LAPACK
    inverse, _ = dpotri(np.asfortranarray(root), overwrite_c=True)
    return np.asfortranarray(inverse)


def _columns(upper: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return some ``columns`` of a symmetric matrix of which the ``upper`` triangle is known."""
    is_below = np.arange(len(upper))[:, None] > columns
    found: np.ndarray = np.where(is_below, upper[columns].T, upper[:, columns])
    return found


def compensate(moment: np.ndarray, weight: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the weight (kept, out) that reads the ``kept`` neurons and comes closest to what ``weight`` makes of all."""
    whole = damped(moment)
    root = scipy.linalg.cho_factor(whole[np.ix_(kept, kept)], check_finite=False)
    compensated: np.ndarray = scipy.linalg.cho_solve(root, whole[kept] @ weight, check_finite=False)
    return compensated


def damped(moment: np.ndarray) -> np.ndarray:
    """Return ``moment``, (neurons, neurons), with `RIDGE` of its mean diagonal added to the diagonal."""
    ridged = moment.astype(np.float64)
    ridged[np.diag_indices_from(ridged)] += max(RIDGE * float(np.diagonal(moment).mean()), np.finfo(np.float64).tiny)
    return ridged
