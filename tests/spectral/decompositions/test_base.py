"""Factors and decompositions as values."""

import numpy as np
import pytest

from squeeze_onnx.spectral.decompositions import (
    DECOMPOSITIONS,
    Decomposition,
    DecompositionSettings,
    Exact,
    Factors,
)
from tests.spectral.decompositions.matrices import matrix_of_spectrum, power_law


@pytest.fixture
def decomposition() -> Decomposition:
    return Exact().decompose(matrix_of_spectrum((12, 9), power_law(9, 1.0)), 5)


def test_factors_know_their_rank_and_product() -> None:
    factors = Factors(left=np.array([[1.0], [2.0]]), right=np.array([[3.0, 4.0, 5.0]]))
    assert factors.rank == 1
    np.testing.assert_array_equal(factors.product(), [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]])


def test_factors_share_the_singular_values_evenly(decomposition: Decomposition) -> None:
    factors = decomposition.factors(3)
    roots = np.sqrt(decomposition.singular_values[:3])
    np.testing.assert_allclose(np.linalg.norm(factors.left, axis=0), roots)
    np.testing.assert_allclose(np.linalg.norm(factors.right, axis=1), roots)


def test_factors_of_rank_zero_stand_for_the_zero_matrix(decomposition: Decomposition) -> None:
    np.testing.assert_array_equal(decomposition.factors(0).product(), np.zeros((12, 9)))


@pytest.mark.parametrize("rank", [-1, 6])
def test_factors_of_a_rank_that_was_not_decomposed_are_refused(decomposition: Decomposition, rank: int) -> None:
    with pytest.raises(ValueError, match=rf"must be between 0 and 5\. Got {rank}"):
        decomposition.factors(rank)


@pytest.mark.parametrize("name", DECOMPOSITIONS)
class TestEveryDecomposition:
    @pytest.mark.parametrize("rank", [0, -1, 8])
    def test_refuses_a_rank_that_the_matrix_does_not_have(self, name: str, rank: int) -> None:
        with pytest.raises(ValueError, match=rf"between 1 and 7, the smaller side of the matrix\. Got {rank}"):
            DecompositionSettings(name).decomposer().decompose(np.ones((7, 9)), rank)

    @pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4)])
    def test_refuses_what_is_no_matrix(self, name: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="takes a matrix with at least one entry"):
            DecompositionSettings(name).decomposer().decompose(np.ones(shape), 1)

    @pytest.mark.parametrize("shape", [(60, 90), (90, 60), (60, 60)])
    def test_recovers_a_matrix_of_low_rank(self, name: str, shape: tuple[int, int]) -> None:
        weight = matrix_of_spectrum(shape, np.array([9.0, 5.0, 4.0, 1.0]))
        found = DecompositionSettings(name).decomposer().decompose(weight, 4)
        np.testing.assert_allclose(found.singular_values, [9.0, 5.0, 4.0, 1.0], rtol=1e-12)
        np.testing.assert_allclose(found.factors(4).product(), weight, atol=1e-12)
        assert found.frobenius_residual < 1e-6
        assert found.spectral_error_bound < 1e-6

    @pytest.mark.parametrize("rank", [1, 7, 30])
    def test_gives_finite_orthonormal_vectors_for_the_zero_matrix(self, name: str, rank: int) -> None:
        found = DecompositionSettings(name).decomposer().decompose(np.zeros((30, 50)), rank)
        np.testing.assert_array_equal(found.singular_values, np.zeros(rank))
        np.testing.assert_allclose(found.left_vectors.T @ found.left_vectors, np.eye(rank), atol=1e-14)
        np.testing.assert_allclose(found.right_vectors @ found.right_vectors.T, np.eye(rank), atol=1e-14)
        assert found.frobenius_residual == found.spectral_error_bound == 0.0

    def test_gives_float64_whatever_comes_in(self, name: str) -> None:
        found = (
            DecompositionSettings(name)
            .decomposer()
            .decompose(matrix_of_spectrum((50, 40), power_law(40, 0.5)).astype("f4"), 6)
        )
        arrays = found.left_vectors, found.singular_values, found.right_vectors
        assert [array.dtype for array in arrays] == [np.float64] * 3
        assert [array.shape for array in arrays] == [(50, 6), (6,), (6, 40)]
