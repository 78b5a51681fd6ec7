"""The exact decomposition, on both of its routes."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given

from squeeze_onnx.spectral.decompositions import Exact, singular_values
from squeeze_onnx.spectral.decompositions import exact as module
from tests.spectral.decompositions.matrices import Rows, matrices, matrix_of_spectrum, power_law, spectral_norm


@given(matrices())
def test_all_triplets_reproduce_any_matrix(weight: np.ndarray) -> None:
    rank = min(weight.shape)
    found = Exact().decompose(weight, rank)
    product = found.factors(rank).product()
    np.testing.assert_allclose(product, weight, atol=1e-10 * float(np.linalg.norm(weight)))
    np.testing.assert_allclose(found.left_vectors.T @ found.left_vectors, np.eye(rank), atol=1e-7)
    np.testing.assert_allclose(found.right_vectors @ found.right_vectors.T, np.eye(rank), atol=1e-7)


@given(matrices())
def test_singular_values_agree_with_those_of_lapack(weight: np.ndarray) -> None:
    expected = np.linalg.svd(weight, compute_uv=False)
    for values in (singular_values(weight), Exact().decompose(weight, min(weight.shape)).singular_values):
        np.testing.assert_allclose(values, expected, atol=1e-7 * expected[0])
        assert (np.diff(values) <= 0).all()
        assert (values >= 0).all()


@given(matrices())
def test_the_errors_are_those_of_the_truncation(weight: np.ndarray) -> None:
    rank = (min(weight.shape) + 1) // 2
    found = Exact().decompose(weight, rank)
    rest = weight - found.factors(rank).product()
    rounding = 1e-7 * spectral_norm(weight)
    assert found.frobenius_residual == pytest.approx(np.linalg.norm(rest), abs=rounding)
    assert found.spectral_error_bound == pytest.approx(spectral_norm(rest), abs=rounding)
    assert found.failure_probability == 0.0


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_both_routes_give_the_same_triplets(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    weight = matrix_of_spectrum(shape, power_law(40, 0.5))
    fast = Exact().decompose(weight, 10)
    monkeypatch.setattr(module, "SAFE_RATIO", np.inf)
    thin = Exact().decompose(weight, 10)
    np.testing.assert_allclose(fast.singular_values, thin.singular_values, rtol=1e-13)
    np.testing.assert_allclose(fast.factors(10).product(), thin.factors(10).product(), atol=1e-12)
    assert fast.frobenius_residual == pytest.approx(thin.frobenius_residual)
    assert fast.spectral_error_bound == pytest.approx(thin.spectral_error_bound)


def test_vectors_stay_orthonormal_where_those_of_the_gram_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = matrix_of_spectrum((30, 50), 10.0 ** -np.linspace(0, 7, 30))

    def defect() -> float:
        right = Exact().decompose(weight, 30).right_vectors
        return float(np.abs(right @ right.T - np.eye(30)).max())

    assert defect() < 1e-13
    monkeypatch.setattr(module, "SAFE_RATIO", 0.0)
    assert defect() > 1e-4


def test_a_leading_part_needs_no_thin_svd_however_small_the_rest_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scipy.linalg, "svd", None)
    weight = matrix_of_spectrum((30, 50), 10.0 ** -np.linspace(0, 12, 30))
    found = Exact().decompose(weight, 6)
    np.testing.assert_allclose(found.singular_values, 10.0 ** -np.linspace(0, 12, 30)[:6], rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-170, 1e-30, 1e30])
def test_the_scale_of_the_matrix_does_not_matter(scale: float) -> None:
    values = power_law(20, 1.0)
    weight = scale * matrix_of_spectrum((20, 25), values)
    np.testing.assert_allclose(singular_values(weight) / scale, values, rtol=1e-10)
    found = Exact().decompose(weight, 20)
    np.testing.assert_allclose(found.factors(20).product() / scale, weight / scale, atol=1e-13)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_row_blocks_decompose_as_the_array_does(shape: tuple[int, int]) -> None:
    weight = matrix_of_spectrum(shape, power_law(40, 0.5))
    from_array, from_blocks = (Exact().decompose(matrix, 12) for matrix in (weight, Rows(weight)))
    np.testing.assert_allclose(from_blocks.factors(12).product(), from_array.factors(12).product(), atol=1e-12)
    np.testing.assert_allclose(singular_values(Rows(weight)), singular_values(weight), rtol=1e-12)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_a_matrix_of_zeros_is_not_decomposed(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_thin_svd", None)
    monkeypatch.setattr(module, "SmallSide", None)
    np.testing.assert_array_equal(singular_values(np.zeros(shape)), np.zeros(30))
    np.testing.assert_array_equal(Exact().decompose(np.zeros(shape), 7).factors(7).product(), np.zeros(shape))


def test_entries_whose_squares_vanish_are_not_zeros() -> None:
    weight = 1e-200 * matrix_of_spectrum((30, 50), power_law(30, 0.5))
    np.testing.assert_allclose(singular_values(weight), 1e-200 * power_law(30, 0.5), rtol=1e-10)
