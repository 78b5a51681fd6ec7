"""What integers of a quantized weight stand for, as tensors that are decoded whenever they are read.

(Q − zero point) · scale, with one scale for the tensor, for each index of an axis, or for each block of neighbours along it.
Decoding at each use keeps memory at the largest weight, like everything that is read from data files.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import DerivedTensor

PACKED = ir.DataType.UINT8
"""The type of bytes that hold several integers of few bits, the first one in the low bits."""


@dataclass(frozen=True, eq=False)
class Quantization:
    """Scales and zero points (None: 0), and the axis they run along unless there is one for the whole tensor.

    ``block`` is how many neighbours along the axis share one; 0 if none do.
    """

    scale: ir.TensorProtocol
    zero_point: ir.TensorProtocol | None = None
    axis: int = -1
    block: int = 0

    @property
    def one_for_all(self) -> bool:
        """Whether there is one scale for the whole tensor."""
        return all(each.size == 1 for each in self._tensors())

    def fits(self, stored: ir.TensorProtocol) -> bool:
        """Whether ``stored`` can be decoded: there is one scale for it all, for each index of the axis, or for each block."""
        shape = tuple(stored.shape.numpy())
        return all(each.size == 1 or self._reaches(tuple(each.shape.numpy()), shape) for each in self._tensors())

    def decoded(self, stored: ir.TensorProtocol) -> DerivedTensor:
        """Return what ``stored``, which `fits`, stands for, in the type of the scales."""
        kind = self.scale.dtype
        return DerivedTensor([stored, *self._tensors()], partial(self._decode, stored), kind, stored.shape)

    def range_of(self, dtype: ir.DataType) -> tuple[Any, Any]:
        """Return the lowest and highest number that integers of ``dtype`` stand for, where there is one scale for all."""
        levels = 2**dtype.bitwidth
        least = 0 if dtype.name.startswith("U") else -levels // 2
        zero_point, scale = self.parameters()
        lowest, highest = ((limit - zero_point) * scale for limit in (least, least + levels - 1))
        kind = self.scale.dtype.numpy().type
        return kind(lowest), kind(highest)

    def parameters(self) -> tuple[float, float]:
        """Return zero point and scale, where there is one for all."""
        zero_point = 0 if self.zero_point is None else self.zero_point.numpy().item()
        return float(zero_point), float(self.scale.numpy().item())

    def _tensors(self) -> list[ir.TensorProtocol]:
        return [self.scale] if self.zero_point is None else [self.scale, self.zero_point]

    def _reaches(self, parameters: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        if not -len(shape) <= self.axis < len(shape):
            return False
        axis = self.axis % len(shape)
        if not self.block:
            return parameters == (shape[axis],)
        return parameters == (*shape[:axis], -(-shape[axis] // self.block), *shape[axis + 1 :])

    def _decode(self, stored: ir.TensorProtocol) -> ir.Tensor[np.ndarray]:
        # float32 holds every integer that quantized weights use, and the difference of two of them, exactly.
        entries = stored.numpy().astype(np.float32)
        if self.zero_point is not None:
            entries -= self._spread(self.zero_point, entries.shape)
        entries *= self._spread(self.scale, entries.shape)
        return ir.Tensor(entries.astype(self.scale.dtype.numpy(), copy=False), dtype=self.scale.dtype)

    def _spread(self, parameter: ir.TensorProtocol, shape: tuple[int, ...]) -> np.ndarray:
        """Return ``parameter`` so that it broadcasts against entries of ``shape``."""
        values = parameter.numpy().astype(np.float32)
        if values.size == 1:
            return values.reshape(())
        axis = self.axis % len(shape)
        if not self.block:
            return values.reshape([-1 if index == axis else 1 for index in range(len(shape))])
        return np.repeat(values, self.block, axis=axis).take(range(shape[axis]), axis=axis)


@dataclass(frozen=True, eq=False)
class BlockWeight:
    """A matrix (rows, columns) in packed blocks along its rows, as com.microsoft.MatMulNBits and GatherBlockQuantized store it.

    packed: bytes, of which ``size·bits/8`` make a block; a row is whole blocks. scales: one for each block.
    zero_points: integers packed row by row, or floats, one for each block; None stands for 2^(bits−1).
    """

    packed: ir.TensorProtocol
    scales: ir.TensorProtocol
    zero_points: ir.TensorProtocol | None
    rows: int
    columns: int
    bits: int
    size: int

    def decoded(self, *, transposed: bool = False) -> DerivedTensor:
        """Return the matrix, or its transpose (columns, rows), in the type of the scales."""
        parts = [self.packed, self.scales] if self.zero_points is None else [self.packed, self.scales, self.zero_points]
        shape = (self.columns, self.rows) if transposed else (self.rows, self.columns)
        return DerivedTensor(parts, partial(self._decode, transposed), self.scales.dtype, ir.Shape(shape))

    def _decode(self, transposed: bool) -> ir.Tensor[np.ndarray]:
        integers = _unpacked(self.packed.numpy().reshape(self.rows, -1), self.bits)
        blocks = integers.reshape(self.rows, -1, self.size).astype(np.float32)
        blocks -= self._zeros(blocks.shape[1])
        blocks *= self.scales.numpy().astype(np.float32).reshape(self.rows, -1, 1)
        matrix = blocks.reshape(self.rows, -1)[:, : self.columns].astype(self.scales.dtype.numpy())
        return ir.Tensor(np.ascontiguousarray(matrix.T if transposed else matrix), dtype=self.scales.dtype)

    def _zeros(self, blocks: int) -> np.ndarray:
        if self.zero_points is None:
            return np.array(2 ** (self.bits - 1), np.float32)
        stored = self.zero_points.numpy().reshape(self.rows, -1)
        zeros = _unpacked(stored, self.bits)[:, :blocks] if self.zero_points.dtype == PACKED else stored
        return zeros.astype(np.float32)[..., None]


def split_columns(weight: DerivedTensor, parts: int) -> list[DerivedTensor]:
    """Return ``weight`` (rows, columns) in so many matrices of equally many columns."""
    rows, columns = weight.shape.numpy()
    width = columns // parts
    shape = ir.Shape([rows, width])
    return [
        DerivedTensor([weight], partial(_columns, weight, index * width, width), weight.dtype, shape)
        for index in range(parts)
    ]


def _columns(weight: ir.TensorProtocol, start: int, count: int) -> ir.Tensor[Any]:
    return ir.Tensor(np.ascontiguousarray(weight.numpy()[:, start : start + count]), dtype=weight.dtype)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Return the integers (rows, bytes·8/bits) of ``bits`` each in the bytes ``packed`` (rows, bytes)."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    integers: np.ndarray = packed[..., None] >> shifts & np.uint8(2**bits - 1)
    return integers.reshape(len(packed), -1)
