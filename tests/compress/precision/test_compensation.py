"""Rounding in turn: what it saves where inputs go together, and that it is plain rounding where they do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.precision.compensation import round_compensated
from squeeze_onnx.compress.precision.rounding import Blocks, round_blocks
from squeeze_onnx.spectral.moments import SecondMoment

RNG = np.random.default_rng(0)


def together(columns: int, seed: int) -> np.ndarray:
    """Inputs (300, columns) of which a third of the directions hold nearly everything."""
    rng = np.random.default_rng(seed)
    few = max(columns // 3, 1)
    return rng.standard_normal((300, few)) @ rng.standard_normal((few, columns)) + 0.1 * rng.standard_normal(
        (300, columns)
    )


def moment_of(inputs: np.ndarray) -> SecondMoment:
    return SecondMoment(inputs.T @ inputs, len(inputs))


def output_error(matrix: np.ndarray, blocks: Blocks, inputs: np.ndarray) -> float:
    return float(np.square((matrix - blocks.decoded()) @ inputs.T).sum())


@settings(max_examples=30)
@given(columns=st.integers(20, 100), seed=st.integers(0, 1000))
def test_outputs_are_nearer_than_by_rounding_each_entry_alone(columns: int, seed: int) -> None:
    inputs, matrix = together(columns, seed), np.random.default_rng(seed).standard_normal((12, columns))
    moment = moment_of(inputs)
    alone = round_blocks(matrix, bits=4, size=32, importance=moment.diagonal)
    in_turn = round_compensated(matrix, moment, bits=4, size=32)
    assert output_error(matrix, in_turn, inputs) < output_error(matrix, alone, inputs)


@pytest.mark.parametrize("columns", [32, 40, 96])
@pytest.mark.parametrize("bits", [4, 8])
def test_independent_inputs_are_rounded_each_by_itself(columns: int, bits: int) -> None:
    matrix = RNG.standard_normal((7, columns))
    plain = round_blocks(matrix, bits=bits, size=32)
    found = round_compensated(matrix, SecondMoment(np.eye(columns), 1), bits=bits, size=32)
    np.testing.assert_array_equal(found.integers, plain.integers)
    np.testing.assert_array_equal(found.scales, plain.scales)
    assert found.columns == plain.columns


def test_the_first_of_two_equal_inputs_is_made_up_for_by_the_second() -> None:
    """w = (0.4, 0.4, 7) with inputs 0 and 1 always the same: the sum 0.8 is near 1, though each alone is near 0."""
    rows = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = round_compensated(np.array([[0.4, 0.4, 7.0]]), moment_of(np.repeat(rows, 50, axis=0)), bits=4, size=16)
    first, second, _ = found.decoded()[0]
    assert first + second == pytest.approx(float(found.scales[0, 0]))
    assert round_blocks(np.array([[0.4, 0.4, 7.0]]), bits=4, size=16).decoded()[0, :2].tolist() == [0, 0]


def test_inputs_that_are_never_met_are_no_trouble() -> None:
    inputs = together(40, 1)
    inputs[:, :5] = 0
    matrix = RNG.standard_normal((3, 40))
    found = round_compensated(matrix, moment_of(inputs), bits=4, size=32).decoded()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, matrix, atol=1.0)
