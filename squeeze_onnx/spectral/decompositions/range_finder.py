"""What the randomized decompositions share: a basis of the leading range, and the way from it to singular triplets."""

from dataclasses import replace

import numpy as np
import scipy.linalg
from numpy.typing import DTypeLike

from squeeze_onnx.spectral.decompositions.base import Decomposition
from squeeze_onnx.spectral.decompositions.blocks import SmallSide
from squeeze_onnx.spectral.decompositions.error_bounds import NormBound, frobenius_residual
from squeeze_onnx.spectral.decompositions.exact import Exact


def well_conditioned(vectors: np.ndarray) -> np.ndarray:
    """A well-conditioned basis of the span of ``vectors`` (tall), in their precision: L of PLU, cheaper than QR."""
    lower: np.ndarray = scipy.linalg.lu(vectors, permute_l=True, check_finite=False)[0]
    return lower


def orthonormal(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the span of ``vectors`` (tall), in their precision, by Cholesky QR twice.

    Yamamoto, Nakatsukasa, Yanagisawa, Fukaya (2015), "Roundoff error analysis of the CholeskyQR2 algorithm": all of it is matrix
    products, and as orthonormal as Householder's QR while the condition number is under ε^(−1/2). Beyond that the Cholesky
    factorization fails, and Householder's QR takes over.
    """
    try:
        return _cholesky_qr(_cholesky_qr(vectors))
    except np.linalg.LinAlgError:
        return np.linalg.qr(vectors)[0]


def _cholesky_qr(vectors: np.ndarray) -> np.ndarray:
    """Q = X L⁻ᵀ for X = ``vectors`` and the Cholesky factor L of XᵀX.

    NumPy only: SciPy brings a BLAS of its own, and two of them, called in turns, wait for each other's threads.
    """
    root = np.linalg.cholesky(vectors.T @ vectors)
    basis: np.ndarray = vectors @ np.linalg.inv(root).T
    return basis


def power_range(
    side: SmallSide, size: int, power_iterations: int, rng: np.random.Generator, dtype: DTypeLike
) -> np.ndarray:
    """An orthonormal basis (small, size) of the range of (AAᵀ)^(q−1) AΩ, with Ω (large, size) Gaussian, in ``dtype``.

    Each product is brought to a well-conditioned basis before the next one. Without that, directions under ε^(1/(2q−1)) σ₁
    drown in the rounding errors of the leading one.
    """
    vectors = side.forward(rng.standard_normal((side.shape[1], size)).astype(dtype, copy=False))
    for _ in range(power_iterations - 1):
        vectors = side.forward(well_conditioned(side.adjoint(well_conditioned(vectors))))
    return np.linalg.qr(vectors)[0]


def project(side: SmallSide, basis: np.ndarray, rank: int) -> Decomposition:
    """The leading ``rank`` triplets of QQᵀA for the orthonormal ``basis`` Q (small, ≥ rank).

    The product AᵀQ runs in the precision of Q, everything after it in float64. The spectral error is bounded by the
    Frobenius residual: true, if crude.
    """
    exact_basis = basis if basis.dtype == np.float64 else np.linalg.qr(basis.astype(np.float64))[0]
    core = Exact().decompose(side.adjoint(exact_basis.astype(basis.dtype, copy=False)), rank)
    small, values, large = exact_basis @ core.right_vectors.T, core.singular_values, core.left_vectors
    left, right = (large, small.T) if side.is_transposed else (small, large.T)
    residual = frobenius_residual(side.matrix, left, values, right, basis.dtype)
    return Decomposition(left, values, right, residual, residual, 0.0)


def sharpen(decomposition: Decomposition, error: NormBound) -> Decomposition:
    """``decomposition`` with the bound of ``error`` where that is the smaller one."""
    if error.upper_bound >= decomposition.spectral_error_bound:
        return decomposition
    return replace(
        decomposition,
        spectral_error_bound=error.upper_bound,
        failure_probability=error.failure_probability,
    )
