"""Products with triangular matrices, which are half zeros: BLAS's trmm takes half the operations of a product with a whole one.

Matrices are float64. SciPy's BLAS works in Fortran order, so that a C-ordered matrix is handed over as its transpose, uncopied.
"""

import numpy as np
from scipy.linalg.blas import dtrmm


def upper_times(upper: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return ``upper`` (n, n) @ ``matrix`` (n, m); what lies below the diagonal of ``upper`` is not read."""
    product: np.ndarray = dtrmm(1.0, upper, matrix.T, side=1, lower=0, trans_a=1).T
    return product


def lower_times(lower: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return ``lower`` (n, n) @ ``matrix`` (n, m); what lies above the diagonal of ``lower`` is not read."""
    product: np.ndarray = dtrmm(1.0, lower, matrix.T, side=1, lower=1, trans_a=1).T
    return product


def times_lower(matrix: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return ``matrix`` (m, n) @ ``lower`` (n, n); what lies above the diagonal of ``lower`` is not read."""
    product: np.ndarray = dtrmm(1.0, lower, matrix.T, side=0, lower=1, trans_a=1).T
    return product
