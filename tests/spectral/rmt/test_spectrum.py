"""Spectrum: its contract and the numbers that describe it."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.spectrum import Spectrum, effective_rank, ks_deviations, stable_rank
from squeeze_onnx.support.errors import InputError
from tests.strategies import spectra, spectrum_of

Measure = Callable[[np.ndarray], float]
MEASURES: list[Measure] = [effective_rank, stable_rank]


def diagonal(*values: float, larger: int | None = None) -> Spectrum:
    return Spectrum(np.array(values), (len(values), larger or len(values)))


def test_the_aspect_ratio_is_at_most_one_in_both_orientations() -> None:
    values = np.array([2.0, 1.0])
    assert Spectrum(values, (2, 8)).aspect_ratio == Spectrum(values, (8, 2)).aspect_ratio == 0.25


def test_eigenvalues_are_squares_over_the_larger_dimension() -> None:
    np.testing.assert_allclose(diagonal(4.0, 2.0, larger=8).eigenvalues, [2.0, 0.5])


@pytest.mark.parametrize(
    ("values", "shape"),
    [([1.0], (2, 2)), ([3.0, 2.0, 1.0], (2, 4)), ([], (0, 4)), ([[2.0], [1.0]], (2, 2))],
    ids=["too few", "too many", "an empty matrix", "a column"],
)
def test_a_wrong_number_of_values_is_refused(values: list[float], shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"a {shape[0]} × {shape[1]} matrix has {min(shape)} singular values"):
        Spectrum(np.array(values), shape)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]], ids=str)
def test_values_that_are_no_singular_values_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="finite, not negative, and in descending order"):
        diagonal(*values)


@pytest.mark.parametrize(("threshold", "rank"), [(0.0, 3), (1.0, 2), (2.5, 1), (3.0, 0)])
def test_rank_above_counts_values_that_are_larger(threshold: float, rank: int) -> None:
    assert diagonal(3.0, 2.0, 1.0).rank_above(threshold) == rank


def test_energy_kept_by_hand() -> None:
    assert [diagonal(2.0, 1.0).energy_kept(rank) for rank in range(3)] == pytest.approx([0, 0.8, 1])


@given(spectra())
def test_energy_kept_grows_to_one(spectrum: Spectrum) -> None:
    assert np.all(np.diff(spectrum.cumulative_energy) >= 0)
    assert spectrum.energy_kept(spectrum.smaller_dimension) == 1


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_equal_values_have_full_effective_and_stable_rank(measure: Measure, size: int) -> None:
    assert measure(np.full(size, 0.1)) == pytest.approx(size)


def test_effective_rank_by_hand() -> None:
    p = np.array([3, 1]) / 4
    assert effective_rank(np.array([6.0, 2.0, 0.0])) == pytest.approx(np.exp(-np.sum(p * np.log(p))))


def test_stable_rank_is_the_ratio_of_norms() -> None:
    matrix = np.random.default_rng(0).standard_normal((5, 9))
    expected = np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, 2) ** 2
    assert stable_rank(spectrum_of(matrix).singular_values) == pytest.approx(expected)


@pytest.mark.parametrize("values", [np.zeros(4), np.zeros(0)], ids=["zeros", "empty"])
def test_nothing_has_effective_and_stable_rank_zero(values: np.ndarray) -> None:
    assert effective_rank(values) == stable_rank(values) == 0


@given(spectra(), st.floats(1e-100, 1e100))
def test_effective_and_stable_rank_lie_between_one_and_the_rank_at_any_scale(spectrum: Spectrum, scale: float) -> None:
    values = spectrum.singular_values * scale
    rank = int(np.count_nonzero(values))
    for measure in MEASURES:
        assert min(rank, 1) - 1e-9 <= measure(values) <= rank * (1 + 1e-9)


@given(spectra().filter(lambda spectrum: spectrum.singular_values[0] < 1e6), st.floats(0.1, 10))
def test_ks_distance_is_scipys(spectrum: Spectrum, sigma: float) -> None:
    law = MarchenkoPastur(spectrum.aspect_ratio, sigma)
    assert spectrum.ks_distance(sigma) == pytest.approx(kstest(law.cdf(spectrum.eigenvalues), "uniform").statistic)


def test_without_noise_the_ks_distance_is_the_part_that_is_not_zero() -> None:
    assert diagonal(5.0, 0.0, 0.0, 0.0).ks_distance(0.0) == 0.25


def test_a_matrix_of_zeros_has_nothing_to_lose() -> None:
    assert diagonal(0.0, 0.0).cumulative_energy.tolist() == [1.0, 1.0, 1.0]


def test_a_weight_is_taken_as_it_is_unless_told_otherwise() -> None:
    assert diagonal(1.0).weighting == "identity"
    assert (diagonal(1.0, larger=7).smaller_dimension, diagonal(1.0, larger=7).larger_dimension) == (1, 7)


@pytest.mark.parametrize(("rank", "threshold"), [(1, 6.5), (2, 3.5), (3, 1.0)])
def test_a_threshold_keeps_the_rank_it_is_for(rank: int, threshold: float) -> None:
    spectrum = Spectrum(np.array([8.0, 5.0, 2.0]), (3, 9))
    assert spectrum.threshold_for(rank) == threshold
    assert spectrum.rank_above(threshold) == rank


@pytest.mark.parametrize(
    ("cdf_values", "above", "below"),
    [([0.9, 0.8], 0.1, 0.8), ([0.2, 0.1], 0.8, 0.1), ([0.75, 0.25], 0.25, 0.25), ([0.5], 0.5, 0.5)],
    ids=["all too large", "all too small", "in the middle", "one"],
)
def test_the_two_sides_of_the_ks_distance_by_hand(cdf_values: list[float], above: float, below: float) -> None:
    assert ks_deviations(np.array(cdf_values)) == pytest.approx((above, below))
