"""Reading by blocks of rows gives what reading at once gives."""

import numpy as np
import pytest

from squeeze_onnx.spectral.decompositions.blocks import (
    Matrix,
    SmallSide,
    dense,
    multiply,
    multiply_transposed,
    row_blocks,
    squared_frobenius_norm,
)
from tests.spectral.decompositions.matrices import Rows

RNG = np.random.default_rng(0)
TALL = RNG.standard_normal((70, 30))
WIDE = RNG.standard_normal((30, 70))

pytestmark = pytest.mark.usefixtures("small_blocks")


def sources(array: np.ndarray) -> list[Matrix]:
    return [array, Rows(array)]


def test_row_blocks_cover_every_row_once_and_in_order() -> None:
    blocks = list(row_blocks(Rows(TALL)))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.vstack([block for _, block in blocks]), TALL)
    np.testing.assert_array_equal(np.concatenate([np.arange(70)[part] for part, _ in blocks]), np.arange(70))


def test_an_array_of_the_working_precision_is_one_block_and_no_copy() -> None:
    ((part, block),) = row_blocks(TALL)
    assert block is TALL
    assert part == slice(0, 70)


def test_blocks_come_in_the_working_precision() -> None:
    assert {block.dtype for _, block in row_blocks(TALL, np.float32)} == {np.dtype(np.float32)}
    assert {block.dtype for _, block in row_blocks(TALL.astype(np.float16))} == {np.dtype(np.float64)}


@pytest.mark.parametrize("array", [TALL, WIDE], ids=["tall", "wide"])
def test_products_agree_with_those_of_the_array(array: np.ndarray) -> None:
    rows, columns = array.shape
    right, left = RNG.standard_normal((columns, 3)), RNG.standard_normal((rows, 3))
    for matrix in sources(array):
        np.testing.assert_allclose(multiply(matrix, right), array @ right)
        np.testing.assert_allclose(multiply_transposed(matrix, left), array.T @ left)
        np.testing.assert_array_equal(dense(matrix), array)
        assert squared_frobenius_norm(matrix) == pytest.approx(np.sum(array**2))


@pytest.mark.parametrize("array", [TALL, WIDE], ids=["tall", "wide"])
def test_the_smaller_side_is_the_same_from_both_orientations(array: np.ndarray) -> None:
    small_side_first = array.T if len(array) > 30 else array
    vectors, others = RNG.standard_normal((30, 4)), RNG.standard_normal((70, 4))
    for matrix in sources(array):
        side = SmallSide(matrix)
        assert side.shape == (30, 70)
        np.testing.assert_allclose(side.forward(others), small_side_first @ others)
        np.testing.assert_allclose(side.adjoint(vectors), small_side_first.T @ vectors)
        np.testing.assert_allclose(side.gram(), small_side_first @ small_side_first.T)


def test_a_product_reads_every_row_once() -> None:
    matrix = Rows(TALL)
    multiply(matrix, np.ones((30, 1)))
    assert matrix.reads.tolist() == [1] * 70


def test_a_float32_product_stays_float32() -> None:
    right = RNG.standard_normal((30, 2)).astype(np.float32)
    assert multiply(TALL, right).dtype == np.float32
    assert multiply_transposed(WIDE, right).dtype == np.float32
