"""Tracy–Widom: published quantiles and moments, an independent method, and the largest singular value of real noise."""

import numpy as np
import pytest
from hypothesis import given
from scipy.integrate import quad, solve_ivp
from scipy.special import airy
from scipy.stats import binom

from squeeze_onnx.spectral.rmt import tracy_widom
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge, tracy_widom_cdf, tracy_widom_quantile
from squeeze_onnx.support.errors import OptionError
from tests.strategies import noise_levels, shapes

PUBLISHED_QUANTILES = {0.01: -3.8954, 0.05: -3.1804, 0.10: -2.7824, 0.90: 0.4501, 0.95: 0.9793, 0.99: 2.0234}


@pytest.mark.parametrize(("probability", "quantile"), PUBLISHED_QUANTILES.items())
def test_published_quantiles(probability: float, quantile: float) -> None:
    assert tracy_widom_quantile(probability) == pytest.approx(quantile, abs=1e-4)


def test_published_mean_and_variance() -> None:
    values, weights = (10 * part for part in np.polynomial.legendre.leggauss(60))
    cdf = np.array([tracy_widom_cdf(value) for value in values])
    # Integration by parts on [−10, 10], where the CDF goes from 0 to 1.
    mean = 10 - weights @ cdf
    second_moment = 100 - 2 * weights @ (values * cdf)
    assert mean == pytest.approx(-1.2065335745820, abs=1e-8)
    assert second_moment - mean**2 == pytest.approx(1.607781034581, abs=1e-8)


def test_the_determinant_agrees_with_painleve() -> None:
    """F₁² = F₂·exp(−∫q), F₂ = exp(−∫(x − s)q²), q″ = sq + 2q³, q ~ Ai (Tracy & Widom 1996)."""
    start, values = 8.0, [2.0, 0.0, -1.0, -2.0, -3.0, -4.0]

    def tail(weight: float, power: int) -> float:
        integrand = lambda x: (x - start) ** weight * airy(x)[0] ** power  # noqa: E731
        return float(quad(integrand, start, start + 20, epsabs=0, epsrel=1e-11)[0])

    def slopes(s: float, state: np.ndarray) -> list[float]:
        q, dq, _, square, _ = state
        return [dq, s * q + 2 * q**3, -q, -(q**2), -square]

    initial = [airy(start)[0], airy(start)[1], tail(0, 1), tail(0, 2), tail(1, 2)]
    path = solve_ivp(slopes, (start, values[-1]), initial, "DOP853", values, rtol=1e-13, atol=1e-17).y
    np.testing.assert_allclose([tracy_widom_cdf(s) for s in values], np.exp(-(path[2] + path[4]) / 2), atol=1e-8)


def test_the_quadrature_has_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(-10, 10, 21)
    coarse = [tracy_widom_cdf(value) for value in values]
    monkeypatch.setattr(tracy_widom, "_NODES", 80)
    np.testing.assert_allclose(coarse, [tracy_widom_cdf(value) for value in values], atol=1e-12)


@pytest.mark.parametrize("probability", [1e-10, 1e-6, 0.3, 0.999, 1 - 1e-6, 1 - 1e-10])
def test_the_quantile_undoes_the_cdf(probability: float) -> None:
    assert tracy_widom_cdf(tracy_widom_quantile(probability)) == pytest.approx(probability, abs=1e-12)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, 1.5, 9e-11, 1 - 9e-11, float("nan")])
def test_a_probability_out_of_range_is_refused(probability: float) -> None:
    with pytest.raises(OptionError, match="the edge probability must be a float in the range"):
        tracy_widom_quantile(probability)


@given(shapes(largest=5000), noise_levels)
def test_the_edge_scales_with_the_noise_and_not_with_the_orientation(shape: tuple[int, int], sigma: float) -> None:
    assert noise_edge(shape, sigma, 0.95) == pytest.approx(sigma * noise_edge(shape[::-1], 1.0, 0.95), rel=1e-12)


@given(shapes(largest=5000))
def test_the_edge_grows_with_the_probability(shape: tuple[int, int]) -> None:
    edges = [noise_edge(shape, 1.0, probability) for probability in (0.01, 0.5, 0.95, 0.99)]
    assert 0 <= edges[0] <= edges[1] < edges[2] < edges[3]


def test_the_edge_of_a_large_matrix_is_marchenko_pasturs() -> None:
    assert noise_edge((10**6, 4 * 10**6), 2.0, 0.95) == pytest.approx(2 * 3000, rel=1e-3)


def test_no_noise_has_no_edge() -> None:
    assert noise_edge((30, 40), 0.0, 0.95) == 0


@pytest.mark.parametrize("probability", [0.5, 0.95])
def test_the_largest_singular_value_of_real_noise_stays_below_the_edge_as_often_as_it_says(probability: float) -> None:
    generator = np.random.default_rng(12)
    shape, count = (60, 120), 400
    edge = noise_edge(shape, 1.0, probability)
    below = sum(np.linalg.norm(generator.standard_normal(shape), 2) < edge for _ in range(count))
    low, high = binom.interval(0.99, count, probability)
    assert low <= below <= high


@pytest.mark.parametrize("value", [-12.5, -11.0, 12.0, 14.0, 40.0])
def test_far_out_the_cdf_is_a_probability_still(value: float) -> None:
    assert 0 <= tracy_widom_cdf(value) <= 1
    assert tracy_widom_cdf(value) == pytest.approx(float(value > 0), abs=1e-12)


def test_no_singular_value_is_below_zero_however_small_the_matrix() -> None:
    assert noise_edge((1, 1), 1.0, 0.001) == 0
