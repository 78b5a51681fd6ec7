"""RSVD."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.spectral.decompositions import Exact, Randomized
from tests.spectral.decompositions.matrices import Rows, matrices, matrix_of_spectrum, power_law, spectral_norm


@given(matrices(), st.data())
def test_its_error_is_the_one_it_reports(weight: np.ndarray, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, min(weight.shape)))
    found = Randomized().decompose(weight, rank)
    rest = weight - found.factors(rank).product()
    rounding = 1e-12 * spectral_norm(weight)
    assert found.frobenius_residual == pytest.approx(np.linalg.norm(rest), rel=1e-6, abs=rounding)
    assert found.spectral_error_bound >= spectral_norm(rest) - rounding
    assert 0.0 <= found.failure_probability <= 1e-6


@given(matrices(), st.data())
def test_its_values_are_under_the_true_ones_and_its_vectors_orthonormal(
    weight: np.ndarray, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, min(weight.shape)))
    found = Randomized().decompose(weight, rank)
    exact = np.linalg.svd(weight, compute_uv=False)
    assert (found.singular_values <= exact[:rank] + 1e-12 * exact[0]).all()
    assert (np.diff(found.singular_values) <= 0).all()
    np.testing.assert_allclose(found.left_vectors.T @ found.left_vectors, np.eye(rank), atol=1e-7)
    np.testing.assert_allclose(found.right_vectors @ found.right_vectors.T, np.eye(rank), atol=1e-7)


def test_a_sketch_as_wide_as_the_matrix_is_exact() -> None:
    weight = matrix_of_spectrum((30, 50), power_law(30, 0.3))
    found, exact = Randomized(oversampling=20).decompose(weight, 10), Exact().decompose(weight, 10)
    np.testing.assert_allclose(found.factors(10).product(), exact.factors(10).product(), atol=1e-12)


def test_the_seed_is_all_that_is_random() -> None:
    weight = matrix_of_spectrum((60, 80), power_law(60, 0.5))
    first, again, other = (Randomized(seed=seed).decompose(weight, 9) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.left_vectors, again.left_vectors)
    assert first.spectral_error_bound == again.spectral_error_bound
    assert np.abs(first.singular_values - other.singular_values).max() > 1e-6


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
def test_row_blocks_decompose_as_the_array_does(shape: tuple[int, int]) -> None:
    weight = matrix_of_spectrum(shape, power_law(60, 0.5))
    rows = Rows(weight)
    from_array, from_blocks = (Randomized().decompose(matrix, 12) for matrix in (weight, rows))
    np.testing.assert_allclose(from_blocks.factors(12).product(), from_array.factors(12).product(), atol=1e-10)
    assert from_blocks.frobenius_residual == pytest.approx(from_array.frobenius_residual)
    assert from_blocks.spectral_error_bound == pytest.approx(from_array.spectral_error_bound)
    assert set(rows.reads) == {4}, "sketch, projection, norm and probes: one pass each"


def test_float32_products_leave_a_float32_sized_difference() -> None:
    weight = matrix_of_spectrum((60, 90), power_law(60, 0.5))
    found, exact = (Randomized(working_dtype=dtype).decompose(weight, 12) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(found.singular_values, exact.singular_values, rtol=1e-5)
    assert found.frobenius_residual == pytest.approx(exact.frobenius_residual, rel=1e-4)
    np.testing.assert_allclose(found.left_vectors.T @ found.left_vectors, np.eye(12), atol=1e-14)


def test_a_negative_oversampling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"oversampling must not be negative\. Got -1"):
        Randomized(oversampling=-1)
