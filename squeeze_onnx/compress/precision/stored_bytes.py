"""How many bytes a weight takes as each precision stores it, nodes and names aside."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.precision.tables import BLOCK_SIZES

BytesOf = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Bytes of weights of so many rows and columns, the integer arrays broadcast."""

_SCALE = 4
"""Bytes of a scale, in float32."""


@dataclass(frozen=True)
class StoredBytes:
    """What a weight of a product takes, (in, out), and what a table takes, (rows, width)."""

    product: BytesOf
    table: BytesOf

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        """Bytes of weights (rows, size) of products, for each of ``sizes``."""
        return self.product(np.asarray(rows), sizes)

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        """Bytes of weights (size, columns) of products, for each of ``sizes``."""
        return self.product(sizes, np.asarray(columns))

    @property
    def of_tables(self) -> "StoredBytes":
        """What tables take, of which the second factor is one of a product."""
        return _TableBytes(self.product, self.table)


@dataclass(frozen=True)
class _TableBytes(StoredBytes):
    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        return self.table(np.asarray(rows), sizes)


def floats(itemsize: int) -> BytesOf:
    """Every entry takes ``itemsize`` bytes."""
    return lambda rows, columns: itemsize * rows * columns


def int8_columns(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Eight bits an entry, and for every column a scale and its zero."""
    stored: np.ndarray = rows * columns + (_SCALE + 1) * columns
    return stored


def int4_rows(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Four bits an entry, and a scale for each block of a row; eight bits where rows are no whole blocks."""
    rows, columns = np.broadcast_arrays(rows, columns)
    size = np.select([columns % block == 0 for block in BLOCK_SIZES], BLOCK_SIZES, default=0)
    blocks = columns // np.maximum(size, 1)
    stored: np.ndarray = np.where(size > 0, rows * columns // 2 + _SCALE * rows * blocks, int8_columns(rows, columns))
    return stored


def int4_columns(block: int, correction_share: float) -> BytesOf:
    """Four bits an entry in blocks of a column, the last one filled up, a scale for each, and a share of all for corrections."""

    def bytes_of(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        blocks = -(-rows // block) * columns
        stored: np.ndarray = (1 + correction_share) * blocks * (block // 2 + _SCALE)
        return stored

    return bytes_of
