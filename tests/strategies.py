"""Hypothesis strategies for spectra: arbitrary ones, and matrices whose signal is planted."""

from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.rmt.spectrum import Spectrum

# A busy machine is no failure: no test here is about time.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

aspect_ratios = st.floats(1e-3, 1.0)
noise_levels = st.floats(1e-6, 1e6)
probabilities = st.floats(0.001, 0.999)


@dataclass(frozen=True)
class PlantedSpectrum:
    """The spectrum of signal plus noise, and what is in it.

    ``strengths`` are the singular values of the signal in units of √n·σ: the BBP transition is at β^¼.
    """

    spectrum: Spectrum
    strengths: tuple[float, ...]
    noise_sigma: float


def plant(shape: tuple[int, int], strengths: tuple[float, ...], noise_sigma: float, seed: int) -> PlantedSpectrum:
    """Add a signal with random singular vectors to Gaussian noise, and decompose the sum."""
    generator = np.random.default_rng(seed)
    rows, columns = shape
    left = np.linalg.qr(generator.standard_normal((rows, len(strengths))))[0]
    right = np.linalg.qr(generator.standard_normal((columns, len(strengths))))[0]
    signal = (left * (np.array(strengths) * np.sqrt(max(shape)))) @ right.T
    matrix = noise_sigma * (signal + generator.standard_normal(shape))
    return PlantedSpectrum(spectrum_of(matrix), strengths, noise_sigma)


def spectrum_of(matrix: np.ndarray) -> Spectrum:
    """Decompose a matrix."""
    rows, columns = matrix.shape
    return Spectrum(np.linalg.svd(matrix, compute_uv=False), (rows, columns), weighting="identity")


@st.composite
def shapes(draw: st.DrawFn, smallest: int = 1, largest: int = 60) -> tuple[int, int]:
    """Shapes (in, out), wide and tall."""
    sides = st.integers(smallest, largest)
    return draw(sides), draw(sides)


@st.composite
def spectra(draw: st.DrawFn) -> Spectrum:
    """Any spectrum a weight can have: single values, ties, zeros, many orders of magnitude."""
    shape = draw(shapes(largest=12))
    values = st.lists(st.just(0.0) | st.floats(1e-30, 1e30), min_size=min(shape), max_size=min(shape))
    return Spectrum(np.sort(np.array(draw(values), dtype=np.float64))[::-1], shape, weighting="identity")


@st.composite
def planted_spectra(draw: st.DrawFn, weakest: float, strongest: float, most: int = 4) -> PlantedSpectrum:
    """Between 0 and ``most`` components, their strengths between ``weakest`` and ``strongest``, in 40 to 80 dimensions."""
    shape = draw(shapes(smallest=40, largest=80))
    strengths = draw(st.lists(st.floats(weakest, strongest), max_size=most).map(tuple))
    return plant(shape, strengths, draw(noise_levels), draw(st.integers(0, 2**32 - 1)))
