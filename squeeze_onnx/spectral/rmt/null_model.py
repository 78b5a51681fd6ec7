"""Pure noise by simulation: exact singular values of Gaussian matrices, and the KS distances they show.

The eigenvalues of a noise matrix repel each other, so they lie far closer to the Marchenko–Pastur law than independent
draws from it, and σ is fitted to the very spectrum that is tested. Both make the textbook Kolmogorov–Smirnov p-value,
which is for independent draws from a given law, far too large. The p-value here is simulated, σ estimated the same way.
"""

from functools import lru_cache

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from squeeze_onnx.spectral.rmt.noise import NoiseEstimator
from squeeze_onnx.spectral.rmt.spectrum import Spectrum


def sample_noise_spectrum(shape: tuple[int, int], generator: np.random.Generator) -> Spectrum:
    """The spectrum of a matrix of ``shape`` of independent standard normal entries, in O(p²) and without the matrix.

    The singular values have exactly the law of those of the p × p bidiagonal matrix B with χ_n, χ_{n−1}, …, χ_{n−p+1}
    on the diagonal and χ_{p−1}, …, χ_1 below it (Dumitriu & Edelman 2002, J. Math. Phys. 43, 5830, the β = 1 Laguerre
    ensemble); their squares are the eigenvalues of the tridiagonal BBᵀ.
    """
    p, n = sorted(shape)
    diagonal = generator.chisquare(np.arange(n, n - p, -1))
    below = generator.chisquare(np.arange(p - 1, 0, -1))
    eigenvalues = eigvalsh_tridiagonal(diagonal + np.concatenate(([0.0], below)), np.sqrt(diagonal[:-1] * below))
    # Rounding may put the smallest eigenvalue of a square matrix just below zero.
    return Spectrum(np.sqrt(np.maximum(eigenvalues[::-1], 0.0)), shape, weighting="identity")


@lru_cache(maxsize=1024)
def simulate_ks_distances(
    shape: tuple[int, int], noise: NoiseEstimator, numbers: range = range(99), *, seed: int = 0
) -> np.ndarray:
    """The KS distances of pure-noise matrices of ``shape`` from their laws, σ fitted to each by ``noise``.

    Each of ``numbers`` is a matrix of its own, whatever others there are. They serve every matrix of that shape, whichever way
    round, and are kept.
    """
    spectra = (sample_noise_spectrum(shape, np.random.default_rng([seed, number])) for number in numbers)
    return np.array([spectrum.ks_distance(noise.estimate(spectrum)) for spectrum in spectra])


def ks_p_value(spectrum: Spectrum, noise: NoiseEstimator, simulated: np.ndarray) -> float:
    """The part of pure-noise matrices of this shape that are as far from their fitted law as ``spectrum``.

    ``simulated`` are their distances (`simulate_ks_distances`). Monte-Carlo: (1 + #{D_simulated ≥ D}) / (1 + simulations), so
    never below 1/(1 + simulations) (Davison & Hinkley 1997, section 4.2). The noise level of ``spectrum`` does not matter.
    """
    observed = spectrum.ks_distance(noise.estimate(spectrum))
    return float((1 + np.count_nonzero(simulated >= observed)) / (1 + len(simulated)))
