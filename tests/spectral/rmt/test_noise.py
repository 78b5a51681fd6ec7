"""Noise estimators: right where they say so, off in the direction they say otherwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.rmt.noise import (
    NOISE_ESTIMATORS,
    BulkFit,
    EntryVariance,
    KnownNoise,
    MedianSingularValue,
    NoiseEstimator,
)
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.strategies import plant, spectra, spectrum_of

every_estimator = pytest.mark.parametrize(
    "estimator", [kind() for kind in NOISE_ESTIMATORS.values()], ids=NOISE_ESTIMATORS
)
SHAPES = [(150, 150), (400, 100), (30, 1200)]


@every_estimator
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_estimator_finds_the_level_of_pure_noise(estimator: NoiseEstimator, shape: tuple[int, int]) -> None:
    spectrum = spectrum_of(0.02 * np.random.default_rng(2).standard_normal(shape))
    assert estimator.estimate(spectrum) == pytest.approx(0.02, rel=0.03)


@every_estimator
@given(spectra(), st.floats(1e-20, 1e20))
@settings(max_examples=50)
def test_every_estimate_is_finite_and_scales_with_the_matrix(
    estimator: NoiseEstimator, spectrum: Spectrum, scale: float
) -> None:
    sigma = estimator.estimate(spectrum)
    scaled = Spectrum(scale * spectrum.singular_values, spectrum.shape, weighting="identity")
    assert 0 <= sigma < np.inf
    assert estimator.estimate(scaled) == pytest.approx(scale * sigma, rel=1e-6)


@every_estimator
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 5), (20, 60)], ids=str)
def test_every_estimate_of_zeros_is_zero(estimator: NoiseEstimator, shape: tuple[int, int]) -> None:
    assert estimator.estimate(Spectrum(np.zeros(min(shape)), shape, weighting="identity")) == 0


@every_estimator
def test_every_estimator_takes_a_single_singular_value(estimator: NoiseEstimator) -> None:
    spectrum = Spectrum(np.array([3 * np.sqrt(5000)]), (5000, 1), weighting="identity")
    assert estimator.estimate(spectrum) == pytest.approx(3, rel=1e-3)


def test_entry_variance_is_the_root_mean_square_of_the_entries() -> None:
    matrix = np.random.default_rng(0).uniform(-1, 3, (7, 12))
    assert EntryVariance().estimate(spectrum_of(matrix)) == pytest.approx(np.sqrt(np.mean(matrix**2)))


@pytest.mark.parametrize("rank", [4, 40])
@pytest.mark.parametrize("shape", [(200, 200), (400, 100)], ids=str)
def test_signal_misleads_entries_most_the_median_less_and_the_bulk_hardly(shape: tuple[int, int], rank: int) -> None:
    planted = plant(shape, strengths=(6.0,) * rank, noise_sigma=0.5, seed=3)
    entries, median, bulk = (
        estimator.estimate(planted.spectrum) for estimator in (EntryVariance(), MedianSingularValue(), BulkFit())
    )
    assert bulk == pytest.approx(0.5, rel=0.02)
    assert bulk < median < entries


def test_the_bulk_fit_has_the_least_ks_distance_of_all_levels() -> None:
    spectrum = spectrum_of(np.random.default_rng(8).standard_normal((60, 90)))
    fitted = BulkFit().estimate(spectrum)
    distances = [spectrum.ks_distance(fitted * factor) for factor in np.geomspace(0.8, 1.25, 101)]
    assert spectrum.ks_distance(fitted) == pytest.approx(min(distances), abs=1e-9)


def test_the_bulk_does_not_run_away_where_the_spectrum_has_no_edge() -> None:
    generator = np.random.default_rng(9)
    rows, columns = (np.exp(generator.standard_normal(size) / 2) for size in (150, 300))
    spectrum = spectrum_of(rows[:, None] * generator.standard_normal((150, 300)) * columns)
    assert 0.7 < BulkFit().estimate(spectrum) / MedianSingularValue().estimate(spectrum) < 1


@pytest.mark.parametrize("estimator", [MedianSingularValue(), BulkFit()], ids=["median", "bulk"])
def test_a_matrix_of_low_rank_has_no_noise_but_that_of_rounding(estimator: NoiseEstimator) -> None:
    generator = np.random.default_rng(4)
    matrix = generator.standard_normal((50, 15)) @ generator.standard_normal((15, 80))
    assert estimator.estimate(spectrum_of(matrix)) < 1e-13


def test_known_noise_is_what_it_was_told() -> None:
    assert KnownNoise(0.25).estimate(Spectrum(np.ones(3), (3, 3), weighting="identity")) == 0.25


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_an_impossible_noise_level_is_refused(sigma: float) -> None:
    with pytest.raises(OptionError, match="the noise level must be a finite float ≥ 0"):
        KnownNoise(sigma)


def test_the_bulk_of_noise_is_all_of_it() -> None:
    """Hardly ever is a component of pure noise set aside: the fit is the best for all values, not for all but the largest."""
    generator = np.random.default_rng(10)
    for _ in range(20):
        spectrum = spectrum_of(generator.standard_normal((40, 50)))
        fitted = BulkFit().estimate(spectrum)
        least = min(spectrum.ks_distance(fitted * factor) for factor in (1 - 1e-4, 1.0, 1 + 1e-4))
        assert spectrum.ks_distance(fitted) == least


@pytest.mark.parametrize(("zeros", "is_noise"), [(2, True), (3, False), (4, False)])
def test_there_is_a_bulk_where_less_than_half_are_zeros(zeros: int, is_noise: bool) -> None:
    spectrum = Spectrum(np.append(np.ones(6 - zeros), np.zeros(zeros)), (6, 6))
    assert (BulkFit().estimate(spectrum) > 0) == is_noise


def test_no_noise_may_be_known() -> None:
    assert KnownNoise(0.0).estimate(Spectrum(np.ones(3), (3, 3))) == 0
