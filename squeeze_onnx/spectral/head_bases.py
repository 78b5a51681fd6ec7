"""Which dimensions of attention heads can go: the products that a model sees of a head, truncated. Arrays only.

A model meets query and key only as q·kᵀ and value and output only as v·W_o, head by head (the QK and OV circuits of Elhage et
al. 2021), so each head may change its basis, and in the right one its last dimensions go: the best product of rank r in the
metric of the activations is a truncated SVD (Eckart & Young 1936). Per head of width d:

- scores: with RᵀR the second moment of a side, q·kᵀ = z_q (R_q R_kᵀ) z_kᵀ for white z. Truncating U S Vᵀ = R_q R_kᵀ to r
  loses Σ_{i>r} s_i² of E(q·kᵀ)² over independent tokens. As R⁻¹U S = R_kᵀV, no inverse is needed: T_q = R_kᵀ V S^(−½) and
  T_k = R_qᵀ U S^(−½), with T_q T_kᵀ = 1 at r = d. These singular values are those of L_x W_q W_kᵀ L_yᵀ, the product of the
  weights whitened on both sides.
- context: with RᵀR the second moment of what the head returns, U S Vᵀ = R W_o and T = W_o V S^(−½) = R⁻¹U S^½.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from squeeze_onnx.spectral.moments import damping

_SINGULAR = 1e-12
"""Relative to the largest: what is smaller is rounding."""


@dataclass(frozen=True)
class ScoreBases:
    """New bases (heads, d, d) for query and key, a column a dimension, the ones that count most first.

    lost: what scores lose of their energy, summed over heads, if r = 0 … d dimensions stay, relative to all of it; (d + 1,).
    """

    query: np.ndarray
    key: np.ndarray
    lost: np.ndarray


def score_bases(query_moment: np.ndarray, key_moment: np.ndarray) -> ScoreBases:
    """Find the bases for moments (heads, d, d) of query and key; that of the key about its mean.

    What all keys have in common adds the same to every score of a query, and a softmax over the keys does not see it.
    """
    query_roots, key_roots = _roots(query_moment), _roots(key_moment)
    left, values, right = np.linalg.svd(query_roots @ _transposed(key_roots))
    scale = 1 / np.sqrt(_floored(values))[:, None, :]
    energy = np.square(values).sum(axis=0)
    return ScoreBases(
        _transposed(key_roots) @ _transposed(right) * scale,
        _transposed(query_roots) @ left * scale,
        np.append(energy[::-1].cumsum()[::-1], 0.0) / max(float(energy.sum()), np.finfo(np.float64).tiny),
    )


def context_bases(moment: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Find the bases (heads, d, d) for what heads return, given its ``moment`` (heads, d, d).

    weight: (heads, d, out), with out ≥ d, what reads it.
    """
    _, values, right = np.linalg.svd(_roots(moment) @ weight, full_matrices=False)
    scale = 1 / np.sqrt(_floored(values))[:, None, :]
    bases: np.ndarray = weight @ _transposed(right) * scale
    return bases


def context_errors(moment: np.ndarray, weight: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Return the squared error, a mean over tokens, of what `thin_weight` makes of 0 … r dimensions; (r + 1,), descending.

    With the first dimensions of all heads before the second ones, those that stay are a leading block of the normal equations:
    one Cholesky factorization serves all widths.
    """
    heads, _, width = bases.shape
    order = np.arange(heads * width).reshape(heads, width).T.ravel()
    equations = _NormalEquations(moment, weight, scipy.linalg.block_diag(*bases)[:, order])
    explained = np.square(equations.half_solved()).sum(axis=1).reshape(width, heads).sum(axis=1)
    errors: np.ndarray = float(np.vdot(weight, moment @ weight)) - np.append(0.0, explained.cumsum())
    return errors.clip(min=0.0)


def thin_weight(moment: np.ndarray, weight: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Return the weight (heads·r, out) that reads heads through ``bases`` (heads, d, r) and comes closest to ``weight``.

    moment: (heads·d, heads·d), positive definite, of all heads together: one can stand in for what goes of another.
    """
    return _NormalEquations(moment, weight, scipy.linalg.block_diag(*bases)).solved()


class _NormalEquations:
    """BᵀMB X = BᵀMW for a basis B, scaled to a diagonal of ones, since heads differ by orders of magnitude."""

    def __init__(self, moment: np.ndarray, weight: np.ndarray, basis: np.ndarray) -> None:
        seen = moment @ basis
        gram = basis.T @ seen
        self._scale = 1 / np.sqrt(_floored(np.diagonal(gram)))
        gram *= np.outer(self._scale, self._scale)
        gram[np.diag_indices_from(gram)] += _SINGULAR
        self._root = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
        self._right = self._scale[:, None] * (seen.T @ weight)

    def half_solved(self) -> np.ndarray:
        """Return what has the energy of the explained part of the output, row by row."""
        half: np.ndarray = scipy.linalg.solve_triangular(self._root, self._right, lower=True, check_finite=False)
        return half

    def solved(self) -> np.ndarray:
        """Return X."""
        solution: np.ndarray = self._scale[:, None] * scipy.linalg.cho_solve(
            (self._root, True), self._right, check_finite=False
        )
        return solution


def _roots(moments: np.ndarray) -> np.ndarray:
    """Upper triangular R (heads, d, d) with RᵀR = moment, up to `moments.DAMPING`."""
    return np.stack([scipy.linalg.cholesky(each + np.diag(damping(each)), check_finite=False) for each in moments])


def _floored(values: np.ndarray) -> np.ndarray:
    """Return ``values`` ≥ 0 with something to divide by: where a head does nothing, what it would do does not matter."""
    floor = max(_SINGULAR * float(values.max()), np.finfo(np.float64).tiny)
    floored: np.ndarray = np.maximum(values, floor)
    return floored


def _transposed(matrices: np.ndarray) -> np.ndarray:
    return matrices.swapaxes(-1, -2)
