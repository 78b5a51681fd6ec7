"""RSI with a given number of power iterations, and with as many as the error asks for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.spectral.decompositions import Exact, Randomized, SubspaceIteration, adaptive_range
from squeeze_onnx.spectral.decompositions import rsi as module
from tests.spectral.decompositions.matrices import Rows, matrices, matrix_of_spectrum, power_law, spectral_norm

SHAPES = [(120, 200), (200, 120)]
FORMS = pytest.mark.parametrize("power_iterations", [3, None], ids=["fixed", "adaptive"])


def error_over_optimum(decomposer: SubspaceIteration | Randomized, weight: np.ndarray, rank: int) -> float:
    rest = weight - decomposer.decompose(weight, rank).factors(rank).product()
    return spectral_norm(rest) / float(np.linalg.svd(weight, compute_uv=False)[rank])


@FORMS
@settings(max_examples=50)
@given(matrix=matrices(largest_side=80), data=st.data())
def test_its_error_is_the_one_it_reports(power_iterations: int | None, matrix: np.ndarray, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(matrix.shape)))
    found = SubspaceIteration(power_iterations).decompose(matrix, rank)
    rest = matrix - found.factors(rank).product()
    rounding = 2e-8 * spectral_norm(matrix)
    assert found.frobenius_residual == pytest.approx(np.linalg.norm(rest), rel=1e-6, abs=rounding)
    assert found.spectral_error_bound >= spectral_norm(rest) - rounding
    assert 0.0 <= found.failure_probability <= 1e-5
    np.testing.assert_allclose(found.left_vectors.T @ found.left_vectors, np.eye(rank), atol=1e-7)
    np.testing.assert_allclose(found.right_vectors @ found.right_vectors.T, np.eye(rank), atol=1e-7)


class TestAGivenNumberOfPowerIterations:
    def test_each_brings_the_error_nearer_to_the_optimum(self) -> None:
        weight = matrix_of_spectrum((120, 200), power_law(120, 0.3))
        errors = [error_over_optimum(SubspaceIteration(q), weight, 20) for q in range(1, 6)]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 1.3
        assert errors[-1] < 1.05

    def test_one_is_rsvd(self) -> None:
        weight = matrix_of_spectrum((120, 200), power_law(120, 0.3))
        one = SubspaceIteration(1, oversampling=10).decompose(weight, 20)
        rsvd = Randomized(oversampling=10).decompose(weight, 20)
        np.testing.assert_array_equal(one.left_vectors, rsvd.left_vectors)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_small_directions_survive_powers_that_drown_them_without_stabilization(
        self, shape: tuple[int, int]
    ) -> None:
        signal = np.logspace(0, -4, 40)
        weight = matrix_of_spectrum(shape, np.concatenate([signal, np.full(80, 1e-6)]))
        assert error_over_optimum(SubspaceIteration(4), weight, 40) < 1.01

        sketch = weight @ np.random.default_rng(0).standard_normal((shape[1], 50))
        for _ in range(3):
            sketch = weight @ (weight.T @ sketch)
        basis = np.linalg.qr(sketch)[0]
        assert spectral_norm(weight - basis @ (basis.T @ weight)) > 10 * 1e-6

    def test_fewer_than_one_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"power_iterations must be 1 or more\. Got 0"):
            SubspaceIteration(power_iterations=0)


class TestTheAdaptiveForm:
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("gram", ["formed", "as products"])
    @pytest.mark.parametrize(
        "values",
        [
            power_law(120, 0.2),
            power_law(120, 1.0),
            0.97 ** np.arange(120),
            np.linspace(2.0, 1.0, 120),
            np.ones(120),
            10.0 ** -(np.arange(120) / 10),
        ],
        ids=["slow", "harmonic", "geometric", "linear", "flat", "graded"],
    )
    def test_comes_within_its_tolerance(
        self, shape: tuple[int, int], gram: str, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "FORM_GRAM_UP_TO", 20 if gram == "formed" else 0)
        weight = matrix_of_spectrum(shape, values)
        assert error_over_optimum(SubspaceIteration(), weight, 24) <= 1.01

    def test_comes_closer_where_a_single_sketch_is_far_off(self) -> None:
        weight = matrix_of_spectrum((300, 400), power_law(300, 0.2))
        assert error_over_optimum(Randomized(), weight, 40) > 1.5
        assert error_over_optimum(SubspaceIteration(tolerance=0.1), weight, 40) <= 1.1
        assert error_over_optimum(SubspaceIteration(tolerance=1e-4), weight, 40) <= 1.0001

    def test_stops_sooner_for_a_coarser_tolerance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        weight = matrix_of_spectrum((300, 400), power_law(300, 0.2))
        monkeypatch.setattr(module, "FORM_GRAM_UP_TO", 0)

        def reads(tolerance: float) -> int:
            rows = Rows(weight)
            SubspaceIteration(tolerance=tolerance).decompose(rows, 40)
            return int(rows.reads.max())

        assert reads(0.5) < reads(0.01)

    def test_bounds_its_error_even_when_it_gives_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adaptive_range, "MOST_LOOKS", 1)
        weight = matrix_of_spectrum((300, 400), power_law(300, 0.2))
        found = SubspaceIteration(tolerance=1e-9).decompose(weight, 40)
        error = spectral_norm(weight - found.factors(40).product())
        assert error <= found.spectral_error_bound <= 1.2 * error

    def test_counts_every_look_at_the_error_as_a_chance_to_fail(self) -> None:
        weight = matrix_of_spectrum((300, 400), power_law(300, 0.2))
        patient, hasty = (SubspaceIteration(tolerance=tolerance).decompose(weight, 40) for tolerance in (1e-6, 0.5))
        assert patient.failure_probability > hasty.failure_probability == pytest.approx(1e-6)

    @pytest.mark.parametrize("gram", ["formed", "as products"])
    def test_comes_within_its_tolerance_in_float32(self, gram: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FORM_GRAM_UP_TO", 20 if gram == "formed" else 0)
        weight = matrix_of_spectrum((300, 400), power_law(300, 0.5)).astype(np.float32)
        decomposer = SubspaceIteration(working_dtype=np.float32)
        assert error_over_optimum(decomposer, weight.astype(np.float64), 40) <= 1.01
        vectors = decomposer.decompose(weight, 40).left_vectors
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(40), atol=1e-14)

    def test_still_bounds_the_error_where_float32_cannot_see(self) -> None:
        weight = matrix_of_spectrum((300, 400), 10.0 ** -(np.arange(300) / 8))
        found = SubspaceIteration(working_dtype=np.float32).decompose(weight, 60)
        error = spectral_norm(weight - found.factors(60).product())
        assert error > 100 * 10.0 ** -(60 / 8)
        assert error <= found.spectral_error_bound

    def test_a_tolerance_of_zero_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"tolerance must be positive\. Got 0"):
            SubspaceIteration(tolerance=0.0)


@FORMS
class TestBothForms:
    def test_a_sketch_as_wide_as_the_matrix_is_exact(self, power_iterations: int | None) -> None:
        weight = matrix_of_spectrum((30, 50), power_law(30, 0.3))
        found, exact = SubspaceIteration(power_iterations).decompose(weight, 25), Exact().decompose(weight, 25)
        np.testing.assert_array_equal(found.left_vectors, exact.left_vectors)
        assert found.failure_probability == 0.0

    def test_the_seed_is_all_that_is_random(self, power_iterations: int | None) -> None:
        weight = matrix_of_spectrum((120, 200), power_law(120, 0.2))
        first, again, other = (
            SubspaceIteration(power_iterations, seed=seed).decompose(weight, 20) for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first.left_vectors, again.left_vectors)
        assert first.spectral_error_bound == again.spectral_error_bound
        assert np.abs(first.left_vectors - other.left_vectors).max() > 1e-6

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("largest_gram", [0, 20])
    def test_row_blocks_decompose_as_the_array_does(
        self,
        power_iterations: int | None,
        shape: tuple[int, int],
        largest_gram: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "FORM_GRAM_UP_TO", largest_gram)
        weight = matrix_of_spectrum(shape, power_law(120, 0.5))
        decomposer = SubspaceIteration(power_iterations)
        from_array, from_blocks = (decomposer.decompose(matrix, 20) for matrix in (weight, Rows(weight)))
        np.testing.assert_allclose(from_blocks.factors(20).product(), from_array.factors(20).product(), atol=1e-8)
        assert from_blocks.frobenius_residual == pytest.approx(from_array.frobenius_residual)
        assert from_blocks.spectral_error_bound == pytest.approx(from_array.spectral_error_bound)

    def test_an_oversampling_of_none_at_all_is_refused(self, power_iterations: int | None) -> None:
        with pytest.raises(ValueError, match=r"oversampling must be 1 or more\. Got 0"):
            SubspaceIteration(power_iterations, oversampling=0)
