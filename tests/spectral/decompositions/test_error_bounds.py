"""Bounds hold as often as they say, and are not idle."""

import numpy as np
import pytest

from squeeze_onnx.spectral.decompositions import error_bounds
from squeeze_onnx.spectral.decompositions.error_bounds import (
    expected_spectral_error,
    frobenius_residual,
    gaussian_norm,
    krylov_norm,
)
from tests.spectral.decompositions.matrices import Rows, matrix_of_spectrum, power_law, spectral_norm

TRIALS = 200
# Spectra of EEᵀ on 150 dimensions; the needle is what random probes miss most easily.
SPECTRA = {
    "flat": np.ones(150),
    "slow decay": power_law(150, 0.5),
    "fast decay": power_law(150, 3.0),
    "needle": np.concatenate([[1.0], np.full(149, 0.8)]),
    "lone value": np.concatenate([[1.0], np.zeros(149)]),
}


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
class TestProbes:
    def test_the_krylov_bound_fails_at_most_as_often_as_it_says(
        self, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(error_bounds, "FAILURE_PROBABILITY", 0.1)
        monkeypatch.setattr(error_bounds, "KRYLOV_STEPS", 2)
        rng = np.random.default_rng(0)
        failures = 0
        for _ in range(TRIALS):
            found = krylov_norm(lambda block: values[:, None] ** 2 * block, rng.standard_normal((150, 1)))
            assert found.estimate <= values[0] * (1 + 1e-12)
            failures += found.upper_bound < values[0]
        assert failures <= 0.1 * TRIALS

    def test_the_gaussian_bound_fails_at_most_as_often_as_it_says(
        self, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(error_bounds, "FAILURE_PROBABILITY", 0.1)
        rng = np.random.default_rng(0)
        failures = 0
        for _ in range(TRIALS):
            probes = rng.standard_normal((150, 2))
            found = gaussian_norm(probes, values[:, None] * probes)
            assert found.estimate <= values[0] * (1 + 1e-12)
            failures += found.upper_bound < values[0]
        # An event of probability 0.1 happens more than 33 times in 200 once in a thousand runs.
        assert failures <= 33

    def test_the_krylov_bound_is_within_a_fifth_of_the_norm(self, values: np.ndarray) -> None:
        start = np.random.default_rng(0).standard_normal((150, 8))
        found = krylov_norm(lambda block: values[:, None] ** 2 * block, start)
        assert values[0] <= found.upper_bound <= 1.2 * values[0]
        assert found.failure_probability == error_bounds.FAILURE_PROBABILITY


def test_a_lone_direction_is_seen_by_the_gaussian_bound_only_by_luck() -> None:
    """The 0.1 of the lemma is near what happens: a bound that is never wrong would say more than it knows."""
    rng = np.random.default_rng(0)
    values = SPECTRA["lone value"][:, None]
    factor = np.sqrt(2 / np.pi) / np.sqrt(0.1)
    misses = sum(factor * np.abs(values * rng.standard_normal((150, 2))).max() < 1.0 for _ in range(1000))
    assert 50 < misses < 130


def test_the_krylov_norm_is_exact_in_few_dimensions() -> None:
    values = power_law(40, 1.0)
    found = krylov_norm(lambda block: values[:, None] ** 2 * block, np.zeros((40, 8)))
    assert found.estimate == found.upper_bound == pytest.approx(1.0)
    assert found.failure_probability == 0.0


def test_the_krylov_norm_stops_when_it_has_seen_enough() -> None:
    applied = []

    def apply(block: np.ndarray) -> np.ndarray:
        applied.append(block)
        return block

    start = np.random.default_rng(0).standard_normal((150, 8))
    full, short = krylov_norm(apply, start), krylov_norm(apply, start, enough=0.5)
    assert len(applied) == error_bounds.KRYLOV_STEPS + 1
    assert short.upper_bound > full.upper_bound > 1.0


class TestFrobeniusResidual:
    def test_it_is_the_norm_of_the_difference(self) -> None:
        weight = matrix_of_spectrum((40, 60), power_law(40, 0.5))
        left, values, right = np.linalg.svd(weight, full_matrices=False)
        found = frobenius_residual(weight, left[:, :9], values[:9], right[:9])
        assert found == pytest.approx(np.linalg.norm(values[9:]), rel=1e-12)

    @pytest.mark.usefixtures("small_blocks")
    def test_it_keeps_its_digits_where_pythagoras_cancels(self) -> None:
        spectrum = np.concatenate([np.ones(9), np.full(31, 1e-9)])
        weight = matrix_of_spectrum((40, 60), spectrum)
        left, values, right = np.linalg.svd(weight, full_matrices=False)
        expected = np.linalg.norm(spectrum[9:])
        naive = np.sqrt(abs(np.sum(weight**2) - np.sum(values[:9] ** 2)))
        assert naive != pytest.approx(expected, rel=0.1)
        for matrix in (weight, Rows(weight)):
            found = frobenius_residual(matrix, left[:, :9], values[:9], right[:9])
            assert found == pytest.approx(expected, rel=1e-6)


class TestExpectedError:
    @pytest.mark.parametrize("exponent", [0.25, 1.0, 3.0])
    @pytest.mark.parametrize("power_iterations", [1, 2, 4])
    def test_the_mean_error_is_under_it_and_not_under_the_optimum(self, exponent: float, power_iterations: int) -> None:
        values = power_law(60, exponent)
        weight = np.diag(values)
        rng = np.random.default_rng(0)
        errors = []
        for _ in range(30):
            sketch = weight @ rng.standard_normal((60, 15))
            for _ in range(power_iterations - 1):
                sketch = weight @ (weight.T @ np.linalg.qr(sketch)[0])
            basis = np.linalg.qr(sketch)[0]
            errors.append(spectral_norm(weight - basis @ (basis.T @ weight)))
        bound = expected_spectral_error(values, 10, 5, power_iterations)
        assert np.mean(errors) <= bound
        assert bound >= values[10]

    def test_more_power_iterations_bring_it_to_the_optimum(self) -> None:
        values = power_law(300, 0.3)
        bounds = [expected_spectral_error(values, 20, 10, q) / values[20] for q in (1, 2, 4, 8, 64)]
        assert bounds == sorted(bounds, reverse=True)
        assert bounds[0] > 10
        assert bounds[-1] < 1.05

    def test_nothing_is_lost_at_the_rank_of_the_matrix(self) -> None:
        assert expected_spectral_error(np.array([3.0, 1.0, 0.0, 0.0]), 2, 2) == 0.0
        assert expected_spectral_error(np.array([3.0, 1.0]), 2, 2) == 0.0

    def test_it_needs_two_more_columns_than_the_rank(self) -> None:
        with pytest.raises(ValueError, match=r"oversampling of 2 or more\. Got 1"):
            expected_spectral_error(np.ones(5), 2, 1)
