"""Rows of outputs: what of a model's outputs can be compared, batch by batch, and how far they are from others."""

import math

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.output_rows import (
    MOST_FEATURES,
    OutputRows,
    Rows,
    are_finite,
    declared_outputs,
    scales_of,
    share_moved,
    shares_moved,
)
from squeeze_onnx.runtime.sessions import ValueSpec
from tests.tiny_encoder import encoder_model

RNG = np.random.default_rng(0)


def batch(sequences: int, tokens: int) -> CalibrationBatch:
    mask = np.ones((sequences, tokens), np.int64)
    mask[:, -1] = 0
    return CalibrationBatch({}, mask)


def heard(shape: tuple[int | str | None, ...], values: list[np.ndarray], batches: list[CalibrationBatch]) -> Rows:
    listener = OutputRows([ValueSpec("y", "", shape)], batches)
    for each, value in zip(batches, values, strict=True):
        listener.hear([value], each.counted)
    return listener.rows()


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


BATCHES = [batch(2, 3), batch(3, 5)]


def test_features_of_tokens_are_averaged_without_padding() -> None:
    values = [normal(2, 3, 4), normal(3, 5, 4)]
    rows = heard((None, "tokens", 4), values, BATCHES)["y"]
    expected = np.concatenate([each[:, :-1].astype(np.float64).mean(axis=1) for each in values])
    np.testing.assert_allclose(rows, expected, rtol=1e-12)
    assert rows.dtype == np.float64


def test_one_number_a_token_has_a_row_a_token() -> None:
    values = [normal(2, 3), normal(3, 5)]
    rows = heard((None, None), values, BATCHES)["y"]
    np.testing.assert_array_equal(rows[:, 0], np.concatenate([each[:, :-1].ravel() for each in values]))


@pytest.mark.parametrize("fixed", [3, 5])
def test_a_fixed_number_that_is_that_of_some_tokens_is_not_taken_for_tokens(fixed: int) -> None:
    values = [normal(2, fixed, 4), normal(3, fixed, 4)]
    rows = heard((None, fixed, 4), values, BATCHES)["y"]
    np.testing.assert_array_equal(rows, np.concatenate([each.reshape(len(each), -1) for each in values]))


def test_a_fixed_number_of_tokens_is_tokens() -> None:
    values = [normal(2, 3, 4), normal(2, 3, 4)]
    rows = heard((None, 3, 4), values, [batch(2, 3), batch(2, 3)])["y"]
    assert rows.shape == (4, 4)


@pytest.mark.parametrize(
    ("first", "second"),
    [(normal(2, 4, 3, 2), normal(3, 4, 5, 2)), (np.array(1.0), np.array(2.0)), (np.ones((2, 3)), np.ones((3, 5)))],
    ids=["a cache", "a single number", "integers"],
)
def test_what_has_no_rows_of_numbers_is_left_out(first: np.ndarray, second: np.ndarray) -> None:
    kind = np.int64 if first.ndim == 2 else np.float32
    assert heard((), [first.astype(kind), second.astype(kind)], BATCHES) == {}


def test_of_very_wide_rows_some_numbers_are_taken() -> None:
    rows = heard((None, None), [normal(2, 3 * MOST_FEATURES)], [CalibrationBatch({}, None)])["y"]
    assert rows.shape == (2, MOST_FEATURES)


def test_outputs_are_known_by_what_the_graph_declares() -> None:
    [output] = declared_outputs(ir.from_proto(encoder_model()))
    assert (output.name, output.shape) == ("last_hidden_state", (None, None, 32))


def test_distances_are_shares_of_the_variance() -> None:
    expected = {"y": normal(200, 6).astype(np.float64) + 10}
    unrelated = {"y": normal(200, 6).astype(np.float64) + 10}
    constant = {"y": np.broadcast_to(expected["y"].mean(axis=0), (200, 6))}
    assert share_moved(expected, expected) == 0
    assert share_moved(constant, expected) == pytest.approx(1)
    assert share_moved(unrelated, expected) == pytest.approx(2, rel=0.1)


def test_an_output_that_is_the_same_for_every_text_does_not_count() -> None:
    expected = {"y": normal(9, 2).astype(np.float64), "constant": np.full((9, 2), 3.0) + 1e-7 * normal(9, 2)}
    moved = {"y": expected["y"], "constant": expected["constant"] + 1}
    assert shares_moved(moved, expected) == {"y": 0}


def test_a_single_text_is_measured_against_its_own_size() -> None:
    expected = {"y": np.array([[3.0, 4.0]])}
    assert scales_of(expected) == {"y": 25}
    assert share_moved({"y": np.array([[3.0, 9.0]])}, expected) == 1


def test_what_was_not_finite_is_not_compared_and_what_becomes_so_is_infinitely_far() -> None:
    masked = {"y": np.array([[1.0, -np.inf], [2.0, -np.inf]])}
    assert not are_finite(masked)
    assert share_moved(masked, masked) == 0
    assert share_moved({"y": np.array([[1.5, np.nan], [2.0, 7.0]])}, masked) == pytest.approx(0.5)
    assert share_moved({"y": np.array([[np.nan, -np.inf], [2.0, -np.inf]])}, masked) == math.inf
