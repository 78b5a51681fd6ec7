"""Noise estimators: the standard deviation σ of the noise in the entries of a matrix, read off its spectrum.

Every edge is proportional to σ, so this choice moves the cut. On the weights of a trained encoder the entry variance
gives the highest σ and the fewest components above the edge; estimates from the bulk leave twice as many and more. None
is right without a noise model: report the cut under each.

On pure noise, the part of 4,000 simulated matrices (1,000 of the large ones) that keep rank 0 at the 95 % Tracy–Widom edge:

    shape        σ known   entries   median   bulk
    200 × 200    95.3 %    95.5 %    91.0 %   93.4 %
    50 × 2000    95.0 %    95.8 %    93.8 %   95.2 %
    768 × 768    94.7 %    94.9 %    92.7 %   93.8 %
    768 × 3072   95.2 %    95.7 %    94.7 %   94.9 %

A high largest singular value raises the entry variance a little too, so "entries" errs on the safe side. The scatter of
the other two comes on top of that of the largest singular value, most for small square matrices.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import brentq

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.spectrum import Spectrum, ks_deviations
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge
from squeeze_onnx.support.errors import OptionError

_SIGNAL_PROBABILITY = 0.999  # high enough that pure noise is hardly ever set aside as signal


class NoiseEstimator(Hashable, Protocol):
    """Tell the noise level of a matrix from its spectrum; hashable, so that simulations under it can be kept."""

    def estimate(self, spectrum: Spectrum) -> float:
        """Return σ ≥ 0, the standard deviation of one entry of the noise."""
        ...


@dataclass(frozen=True)
class EntryVariance:
    """σ² = Σs²/(n·p): the mean square of the entries.

    Right when the matrix is noise, or the signal has little energy: then it is the most precise of all. Wrong when the
    signal has much: its energy is taken for noise, σ and the edge come out too high, and weak components are cut.
    SQUEEZE standardizes the entries, which is this estimator: σ = 1 by construction.
    """

    def estimate(self, spectrum: Spectrum) -> float:
        """Return the root mean square of the entries."""
        return float(np.linalg.norm(spectrum.singular_values) / np.sqrt(spectrum.shape[0] * spectrum.shape[1]))


@dataclass(frozen=True)
class MedianSingularValue:
    """σ = s_median/√(n·μ_β), μ_β the median of the law (Gavish & Donoho 2014, for unknown noise level).

    Right when few components carry signal, however strong it is: k of them move the median up by k/2 places in the
    order, so at k = p/10 σ is 3–6 % too high. Wrong when the lower half of the spectrum is not noise either, as in
    trained weights whose small singular values lie below the law's: σ is too low then.
    """

    def estimate(self, spectrum: Spectrum) -> float:
        """Return the σ at which the law's median is the median singular value."""
        law = MarchenkoPastur(spectrum.aspect_ratio)
        return float(np.median(spectrum.singular_values) / np.sqrt(spectrum.larger_dimension * law.median))


@dataclass(frozen=True)
class BulkFit:
    """σ that minimises the Kolmogorov–Smirnov distance of the bulk to the law.

    The bulk is what `MedianSingularValue` leaves below its 99.9 % Tracy–Widom edge, at least half of the spectrum. What k
    components of signal leave behind is fitted as noise of shape (n − k) × (p − k), so strong signal does not bias it as
    it does the median. Right even with a third of the components signal, if it is well above the bulk. Wrong when the
    bulk does not resemble the law: it then gives the best of bad fits, and the distance says how bad.

    One step is deliberate. Setting aside and fitting again until nothing is above the edge ends well on noise with
    planted signal, but runs away on trained weights, whose spectra fall off without an edge: it set aside 448 of the
    768 components of one attention matrix of all-mpnet-base-v2, and 753 of an FFN matrix.
    """

    def estimate(self, spectrum: Spectrum) -> float:
        """Return σ of the bulk; 0 if half or more of it are zeros."""
        sigma = MedianSingularValue().estimate(spectrum)
        signal = spectrum.rank_above(noise_edge(spectrum.shape, sigma, _SIGNAL_PROBABILITY))
        rows, columns = spectrum.shape
        return _fit(spectrum.singular_values[signal:], (rows - signal, columns - signal))


@dataclass(frozen=True)
class KnownNoise:
    """A noise level known beforehand; raises `OptionError` for a negative one."""

    sigma: float

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < np.inf:
            raise OptionError(f"the noise level must be a finite float ≥ 0. Got {self.sigma!r}")

    def estimate(self, spectrum: Spectrum) -> float:
        """Return the known σ."""
        return self.sigma


NOISE_ESTIMATORS: dict[str, type[NoiseEstimator]] = {
    "entries": EntryVariance,
    "median": MedianSingularValue,
    "bulk": BulkFit,
}


def _fit(values: np.ndarray, shape: tuple[int, int]) -> float:
    """The σ at which ``values`` (descending) have the least KS distance to the law of noise of ``shape``.

    As σ grows, the law's CDF falls at every value: D⁺ grows and D⁻ shrinks. Their maximum is least where they meet.
    """
    positive = values[values > 0]
    if 2 * len(positive) <= len(values):
        return 0.0
    law = MarchenkoPastur(min(shape) / max(shape))

    def imbalance(log_sigma: float) -> float:
        above, below = ks_deviations(law.cdf((values / np.exp(log_sigma)) ** 2 / max(shape)))
        return above - below

    # At the lower bound every positive value is past the upper edge. At the upper bound every eigenvalue is at most a
    # ninth of the law's mean, and so below its median, which is at least 0.65 of the mean.
    lowest = positive[-1] / np.sqrt(max(shape) * law.upper_edge)
    highest = 3 * positive[0] / np.sqrt(max(shape))
    return float(np.exp(brentq(imbalance, np.log(lowest), np.log(highest), xtol=1e-10)))
