"""What integers stand for, and how far that is from what was rounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.precision.rounding import ColumnRounding, round_blocks
from squeeze_onnx.graph.quantized.saturation import PAIR_LIMIT, largest_pairs

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("fits_pairs", "most"), [(False, 0.5), (True, 1.0)])
@given(rows=st.integers(1, 20), columns=st.integers(1, 20), seed=st.integers(0, 1000))
def test_an_int8_column_is_off_by_a_part_of_a_step(
    fits_pairs: bool, most: float, rows: int, columns: int, seed: int
) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows, columns))
    rounded = ColumnRounding(fits_pairs=fits_pairs).encode(weight)
    assert np.abs(rounded.integers.astype(int)).max() <= 127
    assert (np.abs(rounded.decoded() - weight) <= rounded.scales * most * (1 + 1e-4)).all()


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
def test_the_whole_range_is_used_and_rounds_to_itself(rows: int, columns: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((rows, columns))
    rounded = ColumnRounding().encode(weight)
    assert (np.abs(rounded.integers.astype(int)).max(axis=0) == 127).all()
    np.testing.assert_array_equal(ColumnRounding().encode(rounded.decoded()).integers, rounded.integers)


@given(st.integers(1, 40), st.integers(0, 1000), st.sampled_from([0.3, 1, 3]))
def test_neighbours_of_one_sign_stay_within_what_16_bits_hold(rows: int, seed: int, tail: float) -> None:
    """And no column is much coarser than it has to be: some pair, or some entry, is as large as it may be."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, 30)) * np.exp(tail * random.standard_normal((rows, 30)))
    integers = ColumnRounding(fits_pairs=True).encode(weight).integers.astype(int)
    pairs = largest_pairs(integers)
    assert pairs.max() <= PAIR_LIMIT
    assert (np.maximum(pairs, np.abs(integers).max(axis=0)) >= PAIR_LIMIT - 2).all()


def test_opposite_signs_need_no_room() -> None:
    weight = np.array([[1.0, 1.0], [-1.0, 1.0]])
    integers = ColumnRounding(fits_pairs=True).encode(weight).integers
    assert integers.tolist() == [[127, 64], [-127, 64]]


@pytest.mark.parametrize("fits_pairs", [False, True])
def test_a_column_of_zeros_stays_one(fits_pairs: bool) -> None:
    assert not ColumnRounding(fits_pairs=fits_pairs).round(np.zeros((3, 2))).any()


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
