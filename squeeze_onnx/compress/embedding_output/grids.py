"""How numbers of an embedding become integers or bits: one scale for all of them, found on calibration text.

With a scale for each dimension the products of integers would be weighted sums, and cosines of them others than those of the
embeddings; with one, integers can be compared as they are.
"""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.data.stored_output import OutputType


@dataclass(frozen=True)
class Grid:
    """Numbers x are stored as round(x / ``scale``) + ``zero_point``, within the range of the type; bits as x > 0."""

    type: OutputType
    scale: float = 1.0
    zero_point: int = 0

    @classmethod
    def of(cls, kind: OutputType, rows: np.ndarray) -> "Grid":
        """Return the grid on which ``rows`` (texts, dimensions) of calibration text lie; what is beyond is cut off."""
        if kind is OutputType.INT8:
            return cls(kind, _positive(np.abs(rows).max()) / 127)
        if kind is OutputType.UINT8:
            low, high = min(float(rows.min()), 0.0), max(float(rows.max()), 0.0)
            scale = _positive(high - low) / 255
            return cls(kind, scale, round(-low / scale))
        return cls(kind)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return ``rows`` as they are stored: floats, integers or bytes of bits, the first the highest."""
        match self.type:
            case OutputType.INT8:
                return np.asarray(np.clip(np.round(rows / self.scale), -128, 127), np.int8)
            case OutputType.UINT8:
                return np.asarray(np.clip(np.round(rows / self.scale) + self.zero_point, 0, 255), np.uint8)
            case OutputType.BINARY:
                return np.packbits(rows > 0, axis=-1)
            case _:
                return np.asarray(rows, np.float32)


def _positive(width: float) -> float:
    return float(np.float32(width)) if width > 0 else 1.0
