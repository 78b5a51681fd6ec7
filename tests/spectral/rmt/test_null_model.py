"""The null model: simulated spectra against real ones, and a p-value that is uniform under the null."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.noise import BulkFit, EntryVariance
from squeeze_onnx.spectral.rmt.null_model import ks_p_value, sample_noise_spectrum, simulate_ks_distances
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.strategies import plant, spectrum_of

STATISTICS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda values: values[:, 0],
    lambda values: values[:, -1],
    lambda values: values.sum(axis=1),
    lambda values: values[:, 0] - values[:, -1],
]


@pytest.mark.parametrize("shape", [(12, 12), (30, 10), (3, 40), (1, 5)], ids=str)
def test_simulated_singular_values_have_the_law_of_real_ones(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(6)
    simulated = np.array([sample_noise_spectrum(shape, generator).singular_values for _ in range(800)])
    real = np.linalg.svd(generator.standard_normal((800, *shape)), compute_uv=False)
    for statistic in STATISTICS:
        assert ks_2samp(statistic(simulated), statistic(real)).pvalue > 0.01


def test_a_simulated_spectrum_has_the_shape_that_was_asked_for() -> None:
    assert sample_noise_spectrum((30, 10), np.random.default_rng(0)).shape == (30, 10)


def test_the_p_value_is_uniform_on_noise_where_the_textbook_one_is_not() -> None:
    generator = np.random.default_rng(7)
    noise = [spectrum_of(generator.standard_normal((30, 60))) for _ in range(200)]
    distances = simulate_ks_distances((30, 60), EntryVariance(), range(499))
    simulated = [ks_p_value(spectrum, EntryVariance(), distances) for spectrum in noise]
    textbook = [kstest(MarchenkoPastur(0.5).cdf(spectrum.eigenvalues), "uniform").pvalue for spectrum in noise]
    assert kstest(simulated, "uniform").pvalue > 0.01
    assert min(textbook) > 0.9


def test_the_p_value_of_signal_is_the_smallest_there_is() -> None:
    planted = plant((60, 80), strengths=(5.0,) * 12, noise_sigma=1.0, seed=1)
    distances = simulate_ks_distances((60, 80), EntryVariance(), range(49))
    assert ks_p_value(planted.spectrum, EntryVariance(), distances) == 1 / 50


def test_the_p_value_of_zeros_is_one() -> None:
    distances = simulate_ks_distances((20, 30), BulkFit(), range(19))
    assert ks_p_value(Spectrum(np.zeros(20), (20, 30), weighting="identity"), BulkFit(), distances) == 1


def test_the_p_value_depends_on_neither_scale_nor_orientation() -> None:
    spectrum = spectrum_of(np.random.default_rng(3).standard_normal((40, 50)))
    scaled = Spectrum(1e-3 * spectrum.singular_values, (50, 40), weighting="identity")
    distances = simulate_ks_distances((40, 50), BulkFit())
    np.testing.assert_array_equal(simulate_ks_distances((50, 40), BulkFit()), distances)
    assert ks_p_value(scaled, BulkFit(), distances) == ks_p_value(spectrum, BulkFit(), distances)


def test_the_same_seed_gives_the_same_p_value() -> None:
    spectrum = spectrum_of(np.random.default_rng(3).standard_normal((40, 50)))
    first, again, other = (
        ks_p_value(spectrum, EntryVariance(), simulate_ks_distances((40, 50), EntryVariance(), range(999), seed=seed))
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first == pytest.approx(other, abs=0.1)


def test_a_noise_matrix_is_the_same_whatever_others_are_drawn() -> None:
    whole = simulate_ks_distances((40, 50), EntryVariance(), range(20), seed=4)
    parts = [simulate_ks_distances((40, 50), EntryVariance(), part, seed=4) for part in (range(7), range(7, 20))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(set(whole)) == 20


def test_one_simulation_is_enough_to_tell_halves() -> None:
    spectrum = spectrum_of(np.random.default_rng(3).standard_normal((10, 20)))
    distances = simulate_ks_distances((10, 20), EntryVariance(), range(1))
    assert ks_p_value(spectrum, EntryVariance(), distances) in (0.5, 1.0)


def test_99_simulations_of_seed_0_are_made_unless_told_otherwise() -> None:
    told = simulate_ks_distances((10, 20), EntryVariance(), range(99), seed=0)
    np.testing.assert_array_equal(simulate_ks_distances((10, 20), EntryVariance()), told)


@pytest.mark.parametrize("side", [2, 3, 5])
def test_the_smallest_singular_value_of_square_noise_is_real(side: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = sample_noise_spectrum((side, side), generator).singular_values
        assert np.all(np.isfinite(values)) and values[-1] >= 0
