"""A histogram of singular values beside what the Marchenko–Pastur law expects of pure noise, bin by bin."""

from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.spectrum import Spectrum

BULK_BINS = 40
"""Bins from zero to the edge of the bulk."""

MOST_BINS = 3 * BULK_BINS
"""Bins in all: what lies further out is counted, not drawn, or one spike would squeeze the bulk into a few pixels."""


@dataclass(frozen=True, eq=False)
class SingularValueHistogram:
    """``counts`` of singular values in bins of one ``bin_width`` from zero on; the last bin with a value in it is the last.

    ``expected`` is what the Marchenko–Pastur law puts into the bins up to its upper edge, which is the end of the last of
    them; its sum is that of all singular values. ``beyond`` singular values are too large for any bin, ``largest`` is the
    largest of all.
    """

    bin_width: float
    counts: np.ndarray
    expected: np.ndarray
    beyond: int
    largest: float


def singular_value_histogram(spectrum: Spectrum, noise_sigma: float) -> SingularValueHistogram:
    """Bin ``spectrum`` and what noise of standard deviation ``noise_sigma`` per entry would give in its place.

    Noise of standard deviation 0 has nothing to expect; the bins then span the singular values.
    """
    values = spectrum.singular_values
    largest = float(values[0])
    if noise_sigma > 0:
        law = MarchenkoPastur(spectrum.aspect_ratio, noise_sigma)
        width = law.singular_value_edges(spectrum.larger_dimension)[1] / BULK_BINS
        ends = width * np.arange(BULK_BINS + 1)
        ends[-1] = np.inf  # the edge itself, whatever was lost by rounding
        expected = spectrum.smaller_dimension * np.diff(law.cdf(ends**2 / spectrum.larger_dimension))
    else:
        # the smallest of floats divided are zero: such values share a bin
        width, expected = largest / BULK_BINS or 1.0, np.zeros(0)
    bins = np.floor(values / width)
    drawn = bins[bins < MOST_BINS].astype(np.int64)
    return SingularValueHistogram(width, np.bincount(drawn), expected, len(values) - len(drawn), largest)
