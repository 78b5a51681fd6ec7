"""What integers stand for, and how far that is from what was rounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.precision.rounding import column_scales, round_blocks, round_columns

RNG = np.random.default_rng(0)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
def test_an_int8_column_is_off_by_half_a_step_and_rounds_to_itself(rows: int, columns: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows, columns))
    rounded = round_columns(weight)
    assert (np.abs(rounded - weight) <= column_scales(weight) / 2 * (1 + 1e-9)).all()
    np.testing.assert_allclose(round_columns(rounded), rounded, rtol=1e-12)


def test_a_column_of_zeros_stays_one() -> None:
    assert not round_columns(np.zeros((3, 2))).any()


@pytest.mark.parametrize("bits", [4, 8])
@settings(max_examples=40)
@given(rows=st.integers(1, 5), columns=st.integers(1, 70), seed=st.integers(0, 1000))
def test_clipping_is_no_worse_than_the_plain_scale_of_each_block(bits: int, rows: int, columns: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((rows, columns))
    blocks = round_blocks(matrix, bits=bits, size=32)
    assert blocks.decoded().shape == matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -columns % 32))).reshape(rows, -1, 32)
    step = np.abs(padded).max(axis=-1, keepdims=True) / (2 ** (bits - 1) - 1)
    plain = np.square(np.rint(padded / np.where(step > 0, step, 1)) * step - padded).sum()
    assert np.square(blocks.decoded() - matrix).sum() <= plain * (1 + 1e-3) + 1e-12


def test_importance_decides_which_entries_a_block_serves() -> None:
    matrix = np.concatenate([[10.0], RNG.uniform(-1, 1, 31)])[None]
    importance = np.ones(32)
    importance[0] = 1e-6
    plain, weighted = (round_blocks(matrix, bits=4, size=32, importance=each).decoded() for each in (None, importance))
    assert np.square(weighted - matrix)[0, 1:].sum() < np.square(plain - matrix)[0, 1:].sum()


def test_four_bits_are_packed_with_the_first_entry_low() -> None:
    packed = round_blocks(np.array([[-7.0, 7.0, 0.0, 1.0]]), bits=4, size=4).packed()
    assert packed.packed.tolist() == [[[1 | 15 << 4, 8 | 9 << 4]]]
    assert packed.scales.tolist() == [[1.0]]
