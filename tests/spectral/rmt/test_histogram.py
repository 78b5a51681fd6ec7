"""The histogram: every singular value counted once, beside as many as the law expects of noise."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from squeeze_onnx.spectral.rmt.histogram import BULK_BINS, MOST_BINS, singular_value_histogram
from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.strategies import noise_levels, plant


@example(values=[5e-324], extra=0, sigma=0.0)
@given(
    values=st.lists(st.floats(0, 1e3), min_size=1, max_size=40),
    extra=st.integers(0, 30),
    sigma=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
)
def test_every_singular_value_is_counted_once(values: list[float], extra: int, sigma: float) -> None:
    spectrum = Spectrum(np.sort(values)[::-1], (len(values), len(values) + extra))
    histogram = singular_value_histogram(spectrum, sigma)
    assert histogram.counts.sum() + histogram.beyond == len(values)
    assert len(histogram.counts) <= MOST_BINS
    ends = histogram.bin_width * np.arange(1, len(histogram.counts) + 1)
    below = [np.count_nonzero(spectrum.singular_values < end * (1 + 1e-12)) for end in ends]
    assert np.all(np.abs(np.cumsum(histogram.counts) - below) <= np.count_nonzero(np.isclose(values, ends[:, None])))
    assert histogram.largest == max(values)


@given(rows=st.integers(2, 50), extra=st.integers(0, 200), sigma=noise_levels)
def test_the_law_expects_them_all_up_to_its_edge(rows: int, extra: int, sigma: float) -> None:
    spectrum = Spectrum(np.zeros(rows), (rows + extra, rows))
    histogram = singular_value_histogram(spectrum, sigma)
    edge = MarchenkoPastur(spectrum.aspect_ratio, sigma).singular_value_edges(rows + extra)[1]
    assert len(histogram.expected) * histogram.bin_width == pytest.approx(edge)
    assert histogram.expected.sum() == pytest.approx(rows)
    assert np.all(histogram.expected >= 0)


def test_pure_noise_is_what_the_law_expects_and_a_spike_is_not() -> None:
    spectrum = plant((400, 600), strengths=(6.0,), noise_sigma=2.0, seed=0).spectrum
    histogram = singular_value_histogram(spectrum, 2.0)
    assert np.abs(histogram.counts[:BULK_BINS] - histogram.expected).max() < 6
    assert histogram.beyond == 1
    assert histogram.largest == spectrum.singular_values[0] > MOST_BINS * histogram.bin_width


def test_without_noise_the_bins_span_the_values() -> None:
    histogram = singular_value_histogram(Spectrum(np.array([4.0, 1.0]), (2, 2)), 0.0)
    assert (histogram.bin_width, histogram.beyond, histogram.expected.size) == (0.1, 0, 0)
    assert singular_value_histogram(Spectrum(np.zeros(3), (3, 4)), 0.0).counts.tolist() == [3]
