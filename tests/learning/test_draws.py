"""Answers drawn from a model: which loss belongs to which head, and what noise it takes."""

from dataclasses import dataclass

import numpy as np
import pytest

from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
)
from squeeze_onnx.learning.draws import DrawnClass, DrawnEmbedding, DrawnLabels, DrawnScore, drawn_loss
from squeeze_onnx.support.errors import ModelError


@pytest.mark.parametrize(
    ("head", "loss", "shape"),
    [
        (ClassLogits("y", (0, 1, 2)), DrawnClass("y"), (5, 3)),
        (TokenLogits("y"), DrawnClass("y", axes=3), (5, 2, 3)),
        (LabelLogits("y"), DrawnLabels("y"), (5, 3)),
        (ScoreHead("y"), DrawnScore("y"), (5,)),
        (SentenceEmbedding("y"), DrawnEmbedding("y", value_axes=2), (5, 3)),
        (TokenEmbeddings("y"), DrawnEmbedding("y", value_axes=3), (5, 3)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_every_head_has_a_distribution(head: Head, loss: object, shape: tuple[int, ...]) -> None:
    found = drawn_loss(head)
    assert found == loss
    noise = found.draw(np.random.default_rng(0), (5, 2, 3) if len(shape) == 3 else (5, 3))
    assert noise.shape == shape
    assert noise.dtype == np.float32
    assert noise.ndim == found.axes


def test_gumbel_noise_draws_classes_by_their_probability() -> None:
    p = np.array([0.7, 0.2, 0.1])
    noise = DrawnClass("y").draw(np.random.default_rng(1), (20000, 3))
    drawn = np.argmax(np.log(p) + noise, axis=1)
    np.testing.assert_allclose(np.bincount(drawn) / 20000, p, atol=0.015)


def test_logistic_noise_draws_labels_by_their_probability() -> None:
    p = np.array([0.9, 0.5, 0.05])
    noise = DrawnLabels("y").draw(np.random.default_rng(1), (20000, 3))
    np.testing.assert_allclose(np.mean(np.log(p / (1 - p)) + noise > 0, axis=0), p, atol=0.015)


def test_an_answer_of_another_kind_is_refused() -> None:
    @dataclass(frozen=True)
    class Tags:
        output: str = "tags"
        kind: str = "tags"

    with pytest.raises(ModelError, match="of the kind tags, from which no answer can be drawn"):
        drawn_loss(Tags())  # type: ignore[arg-type]
