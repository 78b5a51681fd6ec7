"""Loss heads against their formulas in NumPy."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.embedding import Activation, DenseLayer
from squeeze_onnx.learning.losses import (
    LOSS,
    EmbeddingCosine,
    EmbeddingError,
    HiddenStateError,
    LabelDivergence,
    LogitDivergence,
    LossHead,
    TokenCosine,
    attach_losses,
    counted_or_all,
)
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import run
from tests.graph.tiny_graphs import initializer_names, random_weight, tiny_model
from tests.learning.differentiation import gradients

Array = np.ndarray

TOKENS = "g (float[B,T,4] x) => (float[B,T,4] y) { y = Mul(x, p) }"
ROWS = "g (float[B,4] x) => (float[B,4] y) { y = Mul(x, p) }"
PADDED = np.array([[1, 1, 1], [1, 0, 0]], np.float32)


def losses(graph: str, heads: Sequence[LossHead], student: Array, teacher: Array) -> list[float]:
    """Return the loss and those of ``heads`` when the value y of the student is ``student``."""
    attached = attach_losses(tiny_model(graph, p=np.ones(4, np.float32)), heads)
    shown = teacher * PADDED[..., np.newaxis] if teacher.ndim == 3 else teacher
    text = CalibrationBatch({"ids": np.zeros(PADDED.shape, np.int64)}, PADDED)
    feeds = {"x": student, **attached.feeds(text, dict.fromkeys(attached.targets, shown))}
    assert [str(value.name) for value in attached.model.graph.outputs] == [LOSS, *attached.heads]
    return [float(value) for value in run(attached.model, feeds)]


@pytest.fixture
def student() -> Array:
    return random_weight(2, 3, 4)


@pytest.fixture
def teacher() -> Array:
    return random_weight(2, 3, 4, seed=1)


def pooled(tokens: Array) -> Array:
    return np.stack([tokens[0].mean(axis=0), tokens[1, 0]])


def cosine_distance(left: Array, right: Array) -> float:
    dots = np.sum(left * right, axis=1)
    return float(np.mean(1 - dots / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)))


def test_hidden_states_differ_by_their_relative_squared_error(student: Array, teacher: Array) -> None:
    shown = PADDED > 0
    expected = np.square((student - teacher)[shown]).sum() / np.square(teacher[shown]).sum()
    assert losses(TOKENS, [HiddenStateError("y")], student, teacher)[1] == pytest.approx(expected, rel=1e-5)


def test_embeddings_of_tokens_are_pooled(student: Array, teacher: Array) -> None:
    s, t = pooled(student), pooled(teacher)
    found = losses(TOKENS, [EmbeddingCosine("y"), EmbeddingError("y")], student, teacher)[1:]
    assert found == pytest.approx([cosine_distance(s, t), np.square(s - t).sum() / np.square(t).sum()], rel=1e-5)


def test_vectors_of_tokens_are_compared_one_by_one(student: Array, teacher: Array) -> None:
    counted = PADDED.astype(bool)
    total, _ = losses(TOKENS, [TokenCosine("y")], student, teacher)
    assert total == pytest.approx(cosine_distance(student[counted], teacher[counted]), abs=1e-6)


def test_padding_has_no_part_in_the_gradient_of_vectors_of_tokens(student: Array, teacher: Array) -> None:
    attached = attach_losses(tiny_model(TOKENS, p=np.ones(4, np.float32)), [TokenCosine("y")])
    text = CalibrationBatch({"ids": np.zeros(PADDED.shape, np.int64)}, PADDED)
    feeds = {"x": student, **attached.feeds(text, {"y": teacher * PADDED[..., np.newaxis]})}
    found = gradients(attached.model, ["p"], feeds)["p"]
    other = {**feeds, "x": np.where(PADDED[..., np.newaxis] > 0, student, 0).astype(np.float32)}
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(gradients(attached.model, ["p"], other)["p"], found, rtol=1e-5)


def test_vectors_of_tokens_are_compared_behind_their_modules(student: Array, teacher: Array) -> None:
    counted = PADDED.astype(bool)
    weight = np.random.default_rng(0).standard_normal((student.shape[-1], 2))
    module = DenseLayer("2_Dense/model.safetensors", "", Activation.TANH, adds_input=False, weight=weight)
    total, _ = losses(TOKENS, [TokenCosine("y", modules=(module,))], student, teacher)
    s, t = (module.apply(vectors[counted]) for vectors in (student, teacher))
    assert total == pytest.approx(cosine_distance(s, t), abs=1e-5)


def test_embeddings_of_sequences_are_not(student: Array, teacher: Array) -> None:
    s, t = student[:, 0], teacher[:, 0]
    found = losses(ROWS, [EmbeddingCosine("y", axes=2), EmbeddingError("y", axes=2)], s, t)[1:]
    assert found == pytest.approx([cosine_distance(s, t), np.square(s - t).sum() / np.square(t).sum()], rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_logits_diverge_by_the_scaled_divergence(student: Array, teacher: Array, temperature: float) -> None:
    found, expected = (log_softmax(logits[:, 0] / temperature, axis=1) for logits in (student, teacher))
    divergence = temperature**2 * np.mean(np.sum(np.exp(expected) * (expected - found), axis=1))
    head = LogitDivergence("y", temperature)
    assert losses(ROWS, [head], student[:, 0], teacher[:, 0])[1] == pytest.approx(divergence, rel=1e-5)


def test_logits_of_labels_diverge_each_by_itself(student: Array, teacher: Array) -> None:
    s, t = student[:, 0].astype(np.float64), teacher[:, 0].astype(np.float64)
    divergence = sum(expit(sign * t) * (log_expit(sign * t) - log_expit(sign * s)) for sign in (1, -1))
    expected = np.mean(np.sum(divergence, axis=1))
    assert losses(ROWS, [LabelDivergence("y")], s.astype(np.float32), t.astype(np.float32))[1] == pytest.approx(
        expected, rel=1e-5
    )
    shifted = losses(ROWS, [LabelDivergence("y")], student[:, 0] + 1, teacher[:, 0])[1]
    assert shifted != pytest.approx(expected, rel=1e-2)  # which a softmax would not see


def test_logits_of_tokens_diverge_over_the_tokens_that_are_text(student: Array, teacher: Array) -> None:
    found, expected = (log_softmax(logits[PADDED > 0], axis=1) for logits in (student, teacher))
    divergence = np.mean(np.sum(np.exp(expected) * (expected - found), axis=1))
    assert losses(TOKENS, [LogitDivergence("y", axes=3)], student, teacher)[1] == pytest.approx(divergence, rel=1e-5)


ON_TOKENS = (HiddenStateError("y"), EmbeddingCosine("y"), EmbeddingError("y"), LogitDivergence("y", axes=3))


@pytest.mark.parametrize("head", ON_TOKENS)
def test_padding_does_not_count(head: LossHead, student: Array, teacher: Array) -> None:
    disturbed = student.copy()
    disturbed[1, 1:] += 100
    assert losses(TOKENS, [head], disturbed, teacher) == losses(TOKENS, [head], student, teacher)


@pytest.mark.parametrize("head", ON_TOKENS)
def test_a_perfect_student_loses_nothing(head: LossHead, student: Array) -> None:
    assert losses(TOKENS, [head], student, student)[0] == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_weighted_sum_and_a_value_has_one_target(student: Array, teacher: Array) -> None:
    heads: list[LossHead] = [HiddenStateError("y", weight=0.25), EmbeddingCosine("y", weight=3.0)]
    total, hidden, cosine = losses(TOKENS, heads, student, teacher)
    assert total == pytest.approx(0.25 * hidden + 3 * cosine, rel=1e-6)
    assert len(attach_losses(tiny_model(TOKENS, p=np.ones(4, np.float32)), heads).targets) == 1


def test_attaching_leaves_the_model() -> None:
    model = tiny_model(TOKENS, p=np.ones(4, np.float32))
    attach_losses(model, [HiddenStateError("y")])
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert initializer_names(model) == ["p"]


def test_refuses_a_value_that_is_not_there_and_a_temperature_of_zero() -> None:
    with pytest.raises(OptionError, match="the model has no value 'z' to compare"):
        attach_losses(tiny_model(TOKENS, p=np.ones(4, np.float32)), [HiddenStateError("z")])
    with pytest.raises(OptionError, match="temperature of a divergence of logits is above 0; got 0"):
        LogitDivergence("y", temperature=0)


def test_without_padding_every_token_counts() -> None:
    for mask in (None, PADDED):
        batch = CalibrationBatch({"ids": np.zeros((2, 3), np.int64)}, mask)
        np.testing.assert_array_equal(counted_or_all(batch, (2, 3)), np.ones((2, 3)) if mask is None else PADDED)


def test_rows_of_another_number_count_all(student: Array, teacher: Array) -> None:
    """Patches of an image, say: the mask is that of its text."""
    attached = attach_losses(tiny_model(TOKENS, p=np.ones(4, np.float32)), [HiddenStateError("y")])
    text = CalibrationBatch({"input_ids": np.zeros((2, 5), np.int64)}, np.zeros((2, 5), np.int64))
    found = run(attached.model, {"x": student, **attached.feeds(text, {"y": teacher})})[0]
    assert float(found) == pytest.approx(np.square(student - teacher).sum() / np.square(teacher).sum(), rel=1e-5)


def test_values_may_have_more_axes() -> None:
    graph = "g (float[B,H,W,4] x) => (float[B,H,W,4] y) { y = Mul(x, p) }"
    student, teacher = random_weight(2, 3, 5, 4), random_weight(2, 3, 5, 4, seed=1)
    attached = attach_losses(tiny_model(graph, p=np.ones(4, np.float32)), [HiddenStateError("y")])
    feeds = attached.feeds(CalibrationBatch({"x": student}, None), {"y": teacher})
    found = run(attached.model, {"x": student, **feeds})[0]
    assert float(found) == pytest.approx(np.square(student - teacher).sum() / np.square(teacher).sum(), rel=1e-5)
