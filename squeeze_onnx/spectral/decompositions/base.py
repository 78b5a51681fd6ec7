"""What every decomposition returns, and the one-method protocol it follows."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.spectral.decompositions.blocks import Matrix, shape_of


@dataclass(frozen=True)
class Factors:
    """Two thin matrices, float64, that stand for a weight: weight (in, out) ≈ left (in, r) @ right (r, out)."""

    left: np.ndarray
    right: np.ndarray

    @property
    def rank(self) -> int:
        """The inner dimension r."""
        return int(self.left.shape[1])

    def product(self) -> np.ndarray:
        """The matrix (in, out) that the factors stand for."""
        product: np.ndarray = self.left @ self.right
        return product


@dataclass(frozen=True)
class Decomposition:
    """The leading k singular triplets of a matrix W (in, out), and how far they are from it. All arrays float64.

    The vectors are orthonormal. ``frobenius_residual`` and ``spectral_error_bound`` belong to all k triplets, not to a
    truncation of them.
    """

    left_vectors: np.ndarray
    """U, (in, k)."""
    singular_values: np.ndarray
    """Σ, (k,), descending, not negative."""
    right_vectors: np.ndarray
    """Vᵀ, (k, out)."""
    frobenius_residual: float
    """‖W − UΣVᵀ‖_F, exact up to rounding."""
    spectral_error_bound: float
    """An upper bound of ‖W − UΣVᵀ‖₂, found after the fact from W itself, up to rounding."""
    failure_probability: float
    """How likely the bound is too small; 0 for an exact decomposition."""
    found_by: str = "exact"
    """What found it: ``exact``, ``rsvd`` or ``rsi``."""

    def factors(self, rank: int) -> Factors:
        """The leading ``rank`` ≤ k triplets as balanced factors: left U√Σ (in, rank), right √ΣVᵀ (rank, out)."""
        if not 0 <= rank <= self.singular_values.size:
            raise ValueError(f"The rank of the factors must be between 0 and {self.singular_values.size}. Got {rank}.")
        root = np.sqrt(self.singular_values[:rank])
        return Factors(left=self.left_vectors[:, :rank] * root, right=root[:, None] * self.right_vectors[:rank])


class Decomposer(Protocol):
    """A way to find the leading singular triplets of a matrix."""

    def decompose(self, matrix: Matrix, rank: int) -> Decomposition:
        """The leading ``rank`` triplets, 1 ≤ rank ≤ min(in, out), of ``matrix`` (in, out), whose entries are finite."""
        ...


def check_rank(matrix: Matrix, rank: int) -> None:
    """ValueError unless ``matrix`` has ``rank`` singular triplets to give."""
    largest = min(shape_of(matrix))
    if not 1 <= rank <= largest:
        raise ValueError(f"The rank must be between 1 and {largest}, the smaller side of the matrix. Got {rank}.")
