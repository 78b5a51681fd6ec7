"""Optimal shrinkage: how much of an observed singular value is signal.

Noise of level σ inflates a signal's singular value x to y (both in units of √n·σ) and turns its singular vectors away;
below β^¼ the signal is lost in the bulk, whose edge is 1 + √β (the BBP transition). What to write back instead of y
depends on the loss: Gavish & Donoho (2017), "Optimal Shrinkage of Singular Values", IEEE Trans. Inf. Theory 63, 2137.
A shrinker maps an array of y, any shape, and β in (0, 1] to the array of shrunk values, same shape and unit; zero means
that the component is all noise.
"""

from collections.abc import Callable

import numpy as np

from squeeze_onnx.spectral.rmt.spectrum import Spectrum

Shrinker = Callable[[np.ndarray, float], np.ndarray]


def shrink_for_frobenius(y: np.ndarray, aspect_ratio: float) -> np.ndarray:
    """√((y² − β − 1)² − 4β) / y above the edge: the least squared error."""
    return np.asarray(_root(y, aspect_ratio) / np.maximum(y, 1.0))


def shrink_for_operator(y: np.ndarray, aspect_ratio: float) -> np.ndarray:
    """x·√((x² + β)/(x² + 1)) above the edge: the least spectral error.

    Leeb (2022), "Optimal singular value shrinkage for operator norm loss: extending to non-square matrices". Gavish and
    Donoho's x itself is the best for square matrices only; its error is up to 13 % larger at β = 1/40.
    """
    x = _signal_value(y, aspect_ratio)
    shrunk = x * np.sqrt((x**2 + aspect_ratio) / (x**2 + 1))
    return np.asarray(np.where(y > _edge(aspect_ratio), shrunk, 0.0))


def shrink_for_nuclear(y: np.ndarray, aspect_ratio: float) -> np.ndarray:
    """(x⁴ − β − √β·x·y) / (x²y) where that is positive: the least error in the nuclear norm. It cuts above the edge."""
    x = _signal_value(y, aspect_ratio)
    numerator = x**4 - aspect_ratio - np.sqrt(aspect_ratio) * x * y
    return np.asarray(np.where(y > _edge(aspect_ratio), np.maximum(numerator, 0.0) / (x**2 * np.maximum(y, 1.0)), 0.0))


SHRINKERS: dict[str, Shrinker] = {
    "frobenius": shrink_for_frobenius,
    "operator": shrink_for_operator,
    "nuclear": shrink_for_nuclear,
}


def shrink(spectrum: Spectrum, noise_sigma: float, shrinker: Shrinker) -> np.ndarray:
    """The singular values of ``spectrum`` after ``shrinker``, in their own unit; unchanged if ``noise_sigma`` is 0."""
    if noise_sigma == 0:
        return spectrum.singular_values.copy()
    unit = np.sqrt(spectrum.larger_dimension) * noise_sigma
    return np.asarray(unit * shrinker(spectrum.singular_values / unit, spectrum.aspect_ratio))


def _edge(aspect_ratio: float) -> float:
    return 1 + float(np.sqrt(aspect_ratio))


def _root(y: np.ndarray, aspect_ratio: float) -> np.ndarray:
    """√((y² − β − 1)² − 4β), factored so that it keeps its digits at the edge; zero below it."""
    root_beta = np.sqrt(aspect_ratio)
    return np.asarray(np.sqrt(np.maximum(y**2 - (1 + root_beta) ** 2, 0.0) * (y**2 - (1 - root_beta) ** 2).clip(0.0)))


def _signal_value(y: np.ndarray, aspect_ratio: float) -> np.ndarray:
    """x(y) = √(½(y² − β − 1 + √((y² − β − 1)² − 4β))); at and below the edge β^¼, the weakest signal that shows."""
    y = np.maximum(y, _edge(aspect_ratio))
    return np.asarray(np.sqrt((y**2 - aspect_ratio - 1 + _root(y, aspect_ratio)) / 2))
