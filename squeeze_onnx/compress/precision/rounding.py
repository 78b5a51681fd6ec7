"""Rounding of weights W (in, out) to few bits, and what the rounded integers stand for. Everything is symmetric around 0."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.graph.quantized.few_bits import PackedBlocks
from squeeze_onnx.graph.quantized.saturation import PAIR_LIMIT, largest_pairs

INT8_LEVELS = 127
"""The largest integer of symmetric int8."""

CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Shares of a block's largest entry that may become its largest integer: clipping one entry can serve all others."""


@dataclass(frozen=True, eq=False)
class ColumnIntegers:
    """int8 ``integers`` (in, out), from −127 to 127, with one of the float32 ``scales`` (out,) for each column."""

    integers: np.ndarray
    scales: np.ndarray

    def decoded(self) -> np.ndarray:
        """Return the matrix (in, out) that the integers stand for, in float64."""
        matrix: np.ndarray = self.integers * self.scales.astype(np.float64)
        return matrix


@dataclass(frozen=True)
class ColumnRounding:
    """Rounding to int8 with one scale for each column.

    With ``fits_pairs`` neighbours in a column are small enough for processors that add up their products in 16 bits
    (`squeeze_onnx.graph.quantized.saturation`): the scale is the least at which all pairs are.
    """

    fits_pairs: bool = False

    def encode(self, weight: np.ndarray) -> ColumnIntegers:
        """Round ``weight`` (in, out)."""
        # The scale is stored in float32, so the integers are those of the stored one.
        scales = self._scales(weight).astype(np.float32)
        integers = np.rint(weight / scales).clip(-INT8_LEVELS, INT8_LEVELS).astype(np.int8)
        if self.fits_pairs:
            _fit_pairs(integers, weight / scales)
        return ColumnIntegers(integers, scales)

    def round(self, weight: np.ndarray) -> np.ndarray:
        """Return what the integers stand for."""
        return self.encode(weight).decoded()

    def _scales(self, weight: np.ndarray) -> np.ndarray:
        """Return the step of each column, (out,); 1 for a column of zeros."""
        scales = np.abs(weight).max(axis=0) / INT8_LEVELS
        if self.fits_pairs:
            scales = np.maximum(scales, largest_pairs(weight) / PAIR_LIMIT)
        # What float32 cannot hold as a normal number is as good as zero.
        usable: np.ndarray = np.where(scales > np.finfo(np.float32).tiny, scales, 1.0)
        return usable


def _fit_pairs(integers: np.ndarray, exact: np.ndarray) -> None:
    """Take 1 off one of two neighbours, the one that was rounded up the most, where rounding made their sum one too large."""
    rows = len(integers) // 2 * 2
    pairs = integers[:rows].reshape(-1, 2, integers.shape[1])
    wanted = exact[:rows].reshape(pairs.shape)
    same_sign = np.sign(pairs[:, 0]) * np.sign(pairs[:, 1]) > 0
    over = same_sign & (np.abs(pairs.astype(np.int16)).sum(axis=1) > PAIR_LIMIT)
    gained = np.abs(pairs) - np.abs(wanted)
    first = over & (gained[:, 0] >= gained[:, 1])
    for index, chosen in enumerate((first, over & ~first)):
        pairs[:, index] -= np.where(chosen, np.sign(pairs[:, index]), 0).astype(np.int8)


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
    kind = np.result_type(blocks.dtype, np.float32)
    for clip in CLIPS:
        # The scale is stored in float32, so the integers are those of the stored one.
        scale = np.where(largest > 0, clip * largest / levels, 1.0).astype(np.float32).astype(kind)
        rounded = np.rint(blocks / scale[..., None]).clip(-levels - 1, levels)
        error = np.einsum("rbs,bs->rb", np.square(rounded * scale[..., None] - blocks), weights)
        better = error < best
        best[better], scales[better], integers[better] = error[better], scale[better], rounded[better]
    return Blocks(integers, scales, bits, matrix.shape[1])
