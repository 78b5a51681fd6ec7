"""Matrices of known spectrum, and a matrix that can only be read by rows."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st


def matrix_of_spectrum(shape: tuple[int, int], values: np.ndarray, seed: int = 0) -> np.ndarray:
    """A matrix with random singular vectors and the singular ``values``, at most min(shape) of them."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((side, values.size)))[0] for side in shape)
    product: np.ndarray = (left * values) @ right.T
    return product


def power_law(count: int, exponent: float) -> np.ndarray:
    """1, 2^-exponent, 3^-exponent …"""
    values: np.ndarray = np.arange(1, count + 1) ** -exponent
    return values


@st.composite
def matrices(draw: st.DrawFn, largest_side: int = 40) -> np.ndarray:
    """Any shape; spectra that are flat, slow, graded over 14 digits, of deficient rank or zero; any ordinary scale."""
    shape = draw(st.integers(1, largest_side)), draw(st.integers(1, largest_side))
    count = min(shape)
    decay = draw(st.sampled_from([0.0, 0.05, 0.5, 2.0, 14.0]))
    values = 10.0 ** (draw(st.integers(-6, 6)) - decay * np.arange(count) / count)
    values[draw(st.integers(0, count)) :] *= draw(st.sampled_from([0.0, 1.0]))
    return matrix_of_spectrum(shape, values, draw(st.integers(0, 2**32 - 1)))


@dataclass
class Rows:
    """``array`` as row blocks; ``reads`` counts how often each row was read."""

    array: np.ndarray
    reads: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.reads = np.zeros(len(self.array), dtype=int)

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.array.shape
        return rows, columns

    def rows(self, start: int, stop: int) -> np.ndarray:
        self.reads[start:stop] += 1
        part: np.ndarray = self.array[start:stop]
        return part


def spectral_norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))
