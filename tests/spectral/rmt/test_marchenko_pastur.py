"""Marchenko–Pastur: the law against its own integrals, published constants and real noise."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.support.errors import OptionError
from tests.strategies import aspect_ratios, noise_levels, probabilities, spectrum_of

ASPECT_RATIOS = [1.0, 0.9, 1 / 4, 1 / 40, 1e-4]


def integrate(function: Callable[[float], float], lower: float, upper: float) -> float:
    """∫ function(λ) dλ over s = √λ, in which the density has no pole at β = 1."""
    return float(quad(lambda s: function(s**2) * 2 * s, lower**0.5, upper**0.5, epsabs=1e-13, epsrel=1e-10)[0])


def moment(law: MarchenkoPastur, power: int) -> float:
    return integrate(
        lambda eigenvalue: eigenvalue**power * float(law.density(eigenvalue)), law.lower_edge, law.upper_edge
    )


@pytest.mark.parametrize("aspect_ratio", ASPECT_RATIOS)
def test_the_density_integrates_to_one(aspect_ratio: float) -> None:
    assert moment(MarchenkoPastur(aspect_ratio, 0.7), 0) == pytest.approx(1, rel=1e-8)


@pytest.mark.parametrize("aspect_ratio", ASPECT_RATIOS)
def test_the_mean_is_the_variance_of_the_noise_and_the_spread_that_times_the_aspect_ratio(aspect_ratio: float) -> None:
    law = MarchenkoPastur(aspect_ratio, 0.7)
    assert moment(law, 1) == pytest.approx(0.7**2, rel=1e-8)
    assert moment(law, 2) == pytest.approx(0.7**4 * (1 + aspect_ratio), rel=1e-8)


@pytest.mark.parametrize("aspect_ratio", ASPECT_RATIOS)
def test_the_cdf_is_the_integral_of_the_density(aspect_ratio: float) -> None:
    law = MarchenkoPastur(aspect_ratio)
    for eigenvalue in np.linspace(law.lower_edge, law.upper_edge, 12)[1:-1]:
        part = integrate(lambda x: float(law.density(x)), law.lower_edge, float(eigenvalue))
        assert law.cdf(eigenvalue) == pytest.approx(part, abs=1e-9)


@given(aspect_ratios, noise_levels, probabilities)
def test_the_slope_of_the_cdf_is_the_density(aspect_ratio: float, noise_level: float, probability: float) -> None:
    law = MarchenkoPastur(aspect_ratio, noise_level)
    eigenvalue = law.quantile(probability)
    step = 1e-5 * min(eigenvalue - law.lower_edge, law.upper_edge - eigenvalue)
    slope = (law.cdf(eigenvalue + step) - law.cdf(eigenvalue - step)) / (2 * step)
    assert slope == pytest.approx(law.density(eigenvalue), rel=1e-4)


@given(aspect_ratios, noise_levels, st.lists(st.floats(0, 1), min_size=1))
def test_the_quantile_undoes_the_cdf(aspect_ratio: float, noise_level: float, probabilities: list[float]) -> None:
    law = MarchenkoPastur(aspect_ratio, noise_level)
    np.testing.assert_allclose(law.cdf(law.quantile(probabilities)), probabilities, atol=1e-11)


@given(aspect_ratios, noise_levels)
def test_nothing_lies_outside_the_edges(aspect_ratio: float, noise_level: float) -> None:
    law = MarchenkoPastur(aspect_ratio, noise_level)
    outside = np.array([0.0, law.lower_edge * (1 - 1e-9), law.upper_edge, law.upper_edge * 2])
    np.testing.assert_array_equal(law.density(outside), 0)
    np.testing.assert_allclose(law.cdf(outside), [0, 0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(law.quantile([0, 1]), [law.lower_edge, law.upper_edge], rtol=1e-9, atol=1e-15)


@given(aspect_ratios, st.integers(1, 10_000))
def test_singular_value_edges_are_sigma_times_the_difference_and_sum_of_roots(aspect_ratio: float, larger: int) -> None:
    smaller = aspect_ratio * larger
    expected = [2 * (np.sqrt(larger) - np.sqrt(smaller)), 2 * (np.sqrt(larger) + np.sqrt(smaller))]
    np.testing.assert_allclose(MarchenkoPastur(aspect_ratio, 2.0).singular_value_edges(larger), expected, atol=1e-6)


def test_the_square_median_gives_the_published_2_858() -> None:
    assert 4 / np.sqrt(3) / np.sqrt(MarchenkoPastur(1.0).median) == pytest.approx(2.858, abs=5e-4)


@pytest.mark.parametrize("shape", [(300, 300), (100, 400), (20, 800)], ids=str)
def test_real_noise_lies_along_the_law(shape: tuple[int, int]) -> None:
    spectrum = spectrum_of(0.3 * np.random.default_rng(5).standard_normal(shape))
    law = MarchenkoPastur(spectrum.aspect_ratio, 0.3)
    places = np.arange(min(shape), 0, -1) - 0.5
    # Eigenvalues repel each other: each is within a few places of where the law puts it, whatever the size.
    np.testing.assert_allclose(min(shape) * law.cdf(spectrum.eigenvalues), places, atol=4)


@pytest.mark.parametrize("aspect_ratio", [0.0, -0.5, 1.5, float("nan")])
def test_an_aspect_ratio_out_of_range_is_refused(aspect_ratio: float) -> None:
    with pytest.raises(OptionError, match=r"the aspect ratio must be a float in the range \(0, 1\]"):
        MarchenkoPastur(aspect_ratio)


@pytest.mark.parametrize("noise_level", [0.0, -1.0, float("inf"), float("nan")])
def test_a_noise_level_out_of_range_is_refused(noise_level: float) -> None:
    with pytest.raises(OptionError, match="the noise level must be a positive finite float"):
        MarchenkoPastur(0.5, noise_level)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_out_of_range_is_refused(probability: float) -> None:
    with pytest.raises(OptionError, match="a probability must be a float"):
        MarchenkoPastur(0.5).quantile([0.5, probability])


@given(aspect_ratios, noise_levels)
def test_half_of_the_law_lies_below_the_median(aspect_ratio: float, noise_level: float) -> None:
    law = MarchenkoPastur(aspect_ratio, noise_level)
    assert law.cdf(law.median) == pytest.approx(0.5, abs=1e-9)


@given(aspect_ratios, st.floats(1e-12, 1))
def test_the_cdf_is_a_probability_next_to_the_edges_too(aspect_ratio: float, part: float) -> None:
    law = MarchenkoPastur(aspect_ratio)
    width = law.upper_edge - law.lower_edge
    values = law.cdf([law.lower_edge + part * width, law.upper_edge - part * width])
    assert np.all((values >= 0) & (values <= 1))


@pytest.mark.parametrize("method", ["density", "cdf", "quantile"])
def test_what_is_given_in_single_precision_is_computed_in_double(method: str) -> None:
    values = np.array([0.1, 0.3, 0.7], np.float32)
    found = getattr(MarchenkoPastur(0.25), method)(values)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, getattr(MarchenkoPastur(0.25), method)(values.astype(np.float64)))
