"""Batches in parts: nothing is lost between them, and learning cannot tell."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.learning.batch_learner import BatchLearner, open_learner
from squeeze_onnx.learning.distillation_losses import answer_loss
from squeeze_onnx.learning.learner import LearnerOptions
from squeeze_onnx.learning.losses import attach_losses
from squeeze_onnx.learning.parameters import learnable_parameters
from squeeze_onnx.learning.parts import PartedText, in_parts
from squeeze_onnx.learning.teacher import teach
from tests.graph.tiny_graphs import tiny_model
from tests.learning.test_distill import TOKENS, dense, squeezed, text

FREE = "g (int64[B,T] ids) => (int64[B,T] y) { y = Identity(ids) }"
FIXED = "g (int64[4,T] ids) => (int64[4,T] y) { y = Identity(ids) }"


def batch(sequences: int, tokens: int) -> CalibrationBatch:
    ids = np.arange(sequences * tokens).reshape(sequences, tokens)
    return CalibrationBatch({"ids": ids}, ids % 3)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 9)), min_size=1, max_size=4), st.integers(1, 40))
def test_parts_are_the_batch_again_and_hold_no_more_than_asked(shapes: list[tuple[int, int]], most_tokens: int) -> None:
    batches = [batch(*shape) for shape in shapes]
    parted = in_parts(batches, tiny_model(FREE), most_tokens=most_tokens)
    assert len(parted) == len(batches)
    for index, whole in enumerate(batches):
        parts = [parted.parts[place] for place in parted.of(index)]
        sizes = [part.feeds["ids"].shape[0] for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) > 1 or len(whole.feeds["ids"]) == 1
        assert max(sizes) <= 2 or max(sizes) * whole.feeds["ids"].shape[1] <= most_tokens
        assert np.array_equal(np.concatenate([part.feeds["ids"] for part in parts]), whole.feeds["ids"])
        masks = [part.mask for part in parts if part.mask is not None]
        np.testing.assert_array_equal(np.concatenate(masks), whole.feeds["ids"] % 3)


def test_a_batch_without_padding_has_parts_without() -> None:
    whole = CalibrationBatch({"ids": np.zeros((4, 3), np.int64)}, None)
    parted = in_parts([whole], tiny_model(FREE), most_tokens=6)
    assert [part.mask for part in parted.parts] == [None, None]


def test_leaves_a_batch_whole_that_the_model_fixes() -> None:
    assert len(in_parts([batch(4, 3)], tiny_model(FIXED), most_tokens=3).parts) == 1


def test_leaves_a_batch_whole_if_an_input_does_not_run_over_its_sequences() -> None:
    feeds: dict[str, np.ndarray] = {"ids": np.zeros((4, 3), np.int64), "scale": np.ones(1, np.float32)}
    assert len(in_parts([CalibrationBatch(feeds, None)], tiny_model(FREE), most_tokens=3).parts) == 1


def test_the_most_telling_part_has_the_most_sequences_and_tokens() -> None:
    parted = in_parts([batch(9, 2), batch(4, 5), batch(1, 30), batch(5, 4)], tiny_model(FREE))
    assert [len(part.feeds["ids"]) for part in parted.parts] == [9, 4, 1, 5]
    assert parted.most_telling() == 1


def opened(student: ir.Model, parted: PartedText, folder: Path) -> BatchLearner:
    graph = attach_losses(student, [answer_loss(TOKENS)])
    taught = teach(dense(), graph, parted.parts, folder)
    return open_learner(
        graph, learnable_parameters(student, ["last_hidden_state"]), taught, parted, LearnerOptions(threads=1)
    )


@pytest.mark.parametrize("most_tokens", [3, 17])
def test_losses_and_gradients_of_parts_are_those_of_the_whole(tmp_path: Path, most_tokens: int) -> None:
    student, batches = squeezed(), text()
    whole = opened(student, in_parts(batches, student, most_tokens=1000), tmp_path / "whole")
    parts = opened(student, in_parts(batches, student, most_tokens=most_tokens), tmp_path / "parts")
    for index in range(len(batches)):
        expected, found = whole.run(index), parts.run(index)
        assert found == pytest.approx(expected, rel=1e-5)
        error = np.linalg.norm(parts.gradient - whole.gradient)
        assert error < 1e-5 * np.linalg.norm(whole.gradient)
        assert parts.sequences(index) == whole.sequences(index) == len(batches[index].feeds["input_ids"])
