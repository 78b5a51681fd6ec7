"""Products with a matrix that is read a block of rows at a time, so that it never has to fit in memory.

Every product here takes an array or anything that can read rows. What is in memory at once is one block and the thin
result. An array that already has the working precision is one block: no copy, full BLAS speed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

BLOCK_BYTES = 64 * 2**20
"""Size of one block in the working precision: large enough for BLAS, small against any model."""


class RowBlocks(Protocol):
    """A matrix that can read a range of its rows, for example from a model's external data file."""

    @property
    def shape(self) -> tuple[int, int]:
        """(in, out)."""
        ...

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` up to, but without, ``stop`` as (stop - start, out), of any floating dtype."""
        ...


Matrix: TypeAlias = np.ndarray | RowBlocks


def shape_of(matrix: Matrix) -> tuple[int, int]:
    """(in, out) of ``matrix``; ValueError unless it has two dimensions and at least one entry."""
    shape = tuple(matrix.shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"A decomposition takes a matrix with at least one entry. Got an array of shape {shape}.")
    return int(shape[0]), int(shape[1])


def row_blocks(matrix: Matrix, dtype: DTypeLike = np.float64) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, block of those rows in ``dtype``) from the first row to the last."""
    rows, columns = shape_of(matrix)
    if isinstance(matrix, np.ndarray) and matrix.dtype == dtype:
        yield slice(0, rows), matrix
        return
    height = max(1, BLOCK_BYTES // (columns * np.dtype(dtype).itemsize))
    for start in range(0, rows, height):
        part = slice(start, min(start + height, rows))
        block = matrix[part] if isinstance(matrix, np.ndarray) else matrix.rows(part.start, part.stop)
        yield part, np.asarray(block, dtype=dtype)


def dense(matrix: Matrix) -> np.ndarray:
    """The whole matrix in memory, float64."""
    return np.vstack([block for _, block in row_blocks(matrix)])


def multiply(matrix: Matrix, right: np.ndarray) -> np.ndarray:
    """W @ right, (in, columns of ``right``), in the precision of ``right``: one pass over the rows."""
    return np.vstack([block @ right for _, block in row_blocks(matrix, right.dtype)])


def multiply_transposed(matrix: Matrix, left: np.ndarray) -> np.ndarray:
    """Wᵀ @ left, (out, columns of ``left``), in the precision of ``left``: one pass over the rows."""
    product = np.zeros((left.shape[1], shape_of(matrix)[1]), dtype=left.dtype)
    for part, block in row_blocks(matrix, left.dtype):
        product += left[part].T @ block  # a third faster than block.T @ left, for the same flops
    return product.T


def column_gram(matrix: Matrix, dtype: DTypeLike = np.float64) -> np.ndarray:
    """WᵀW, (out, out): one pass over the rows."""
    columns = shape_of(matrix)[1]
    gram = np.zeros((columns, columns), dtype=dtype)
    for _, block in row_blocks(matrix, dtype):
        gram += block.T @ block
    return gram


def squared_frobenius_norm(matrix: Matrix) -> float:
    """‖W‖_F², float64: one pass over the rows."""
    return float(sum(np.vdot(block, block) for _, block in row_blocks(matrix)))


def is_zero(matrix: Matrix) -> bool:
    """Whether every entry is 0: most other matrices show in their first block that they are not."""
    return not any(block.any() for _, block in row_blocks(matrix))


@dataclass(frozen=True)
class SmallSide:
    """A matrix W seen from its smaller side: A (small, large) is W itself, or Wᵀ where W is taller than wide.

    Bases, Gram matrices and sketches belong on the smaller side, whichever it is.
    """

    matrix: Matrix

    @property
    def is_transposed(self) -> bool:
        """Whether A is Wᵀ."""
        rows, columns = shape_of(self.matrix)
        return rows > columns

    @property
    def shape(self) -> tuple[int, int]:
        """(small, large)."""
        small, large = sorted(shape_of(self.matrix))
        return small, large

    def forward(self, vectors: np.ndarray) -> np.ndarray:
        """A @ vectors: (large, n) to (small, n), in the precision of ``vectors``."""
        return (multiply_transposed if self.is_transposed else multiply)(self.matrix, vectors)

    def adjoint(self, vectors: np.ndarray) -> np.ndarray:
        """Aᵀ @ vectors: (small, n) to (large, n), in the precision of ``vectors``."""
        return (multiply if self.is_transposed else multiply_transposed)(self.matrix, vectors)

    def gram(self, dtype: DTypeLike = np.float64) -> np.ndarray:
        """AAᵀ, (small, small): one pass over the rows; for row blocks wider than tall, one more pass for each block."""
        if self.is_transposed:
            return column_gram(self.matrix, dtype)
        if isinstance(self.matrix, np.ndarray):
            return column_gram(self.matrix.T, dtype)
        return np.hstack([multiply(self.matrix, block.T) for _, block in row_blocks(self.matrix, dtype)])
