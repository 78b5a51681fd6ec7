"""Rounding of weights W (in, out) to few bits, and what the rounded integers stand for. Everything is symmetric around 0."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.graph.quantized.few_bits import PackedBlocks

INT8_LEVELS = 127
"""The largest integer of symmetric int8."""

CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Shares of a block's largest entry that may become its largest integer: clipping one entry can serve all others."""


def round_columns(weight: np.ndarray) -> np.ndarray:
    """Return what int8 with one scale a column makes of ``weight`` (in, out): the rounding of onnxruntime, idempotent."""
    scale = column_scales(weight)
    rounded: np.ndarray = np.rint(weight / scale).clip(-INT8_LEVELS, INT8_LEVELS) * scale
    return rounded


def column_scales(weight: np.ndarray) -> np.ndarray:
    """Return the step of each column, (out,); 1 for a column of zeros."""
    largest = np.abs(weight).max(axis=0)
    scales: np.ndarray = np.where(largest > 0, largest / INT8_LEVELS, 1.0)
    return scales


@dataclass(frozen=True)
class Blocks:
    """Integers with a scale for each block of ``size`` neighbours along the columns of a matrix (rows, columns).

    integers: (rows, blocks, size), from −2^(bits−1) to 2^(bits−1) − 1; the last block of a row is filled up with zeros.
    scales: (rows, blocks).
    """

    integers: np.ndarray
    scales: np.ndarray
    bits: int
    columns: int

    @property
    def size(self) -> int:
        """Columns of a block."""
        return int(self.integers.shape[-1])

    @property
    def bytes(self) -> int:
        """Bytes of integers and float32 scales in a file."""
        return self.integers.size * self.bits // 8 + 4 * self.scales.size

    def decoded(self) -> np.ndarray:
        """Return the matrix (rows, columns) that the integers stand for."""
        entries = self.integers * self.scales[..., None]
        matrix: np.ndarray = entries.reshape(len(entries), -1)[:, : self.columns]
        return matrix

    def packed(self) -> PackedBlocks:
        """Return what the file stores: the integers shifted to be unsigned."""
        unsigned = (self.integers.astype(np.int16) + 2 ** (self.bits - 1)).astype(np.uint8)
        entries = unsigned if self.bits == 8 else unsigned[..., 0::2] | unsigned[..., 1::2] << 4
        return PackedBlocks(entries, self.scales, self.bits, self.size, self.columns)


def round_blocks(matrix: np.ndarray, *, bits: int, size: int, importance: np.ndarray | None = None) -> Blocks:
    """Round ``matrix`` (rows, columns) to ``bits`` in blocks of ``size`` columns.

    Of the scales in `CLIPS` each block gets the one of least squared error, weighted by the ``importance`` (columns,).
    """
    padding = -matrix.shape[1] % size
    blocks = np.pad(matrix, ((0, 0), (0, padding))).reshape(len(matrix), -1, size)
    weights = np.pad(np.ones(matrix.shape[1]) if importance is None else importance, (0, padding)).reshape(-1, size)
    largest = np.abs(blocks).max(axis=-1)
    levels = 2 ** (bits - 1) - 1
    best = np.full(largest.shape, np.inf)
    scales, integers = np.ones(largest.shape), np.zeros(blocks.shape, np.int8)
    for clip in CLIPS:
        # The scale is stored in float32, so the integers are those of the stored one.
        scale = np.where(largest > 0, clip * largest / levels, 1.0).astype(np.float32).astype(np.float64)
        rounded = np.rint(blocks / scale[..., None]).clip(-levels - 1, levels)
        error = np.einsum("rbs,bs->rb", np.square(rounded * scale[..., None] - blocks), weights)
        better = error < best
        best[better], scales[better], integers[better] = error[better], scale[better], rounded[better]
    return Blocks(integers, scales, bits, matrix.shape[1])
