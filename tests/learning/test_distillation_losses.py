"""What is imitated: a loss for every kind of answer, and how fast each is learned."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.evaluate.answer_heads import ClassLogits, Head, ScoreHead, SentenceEmbedding, TokenEmbeddings
from squeeze_onnx.learning.distillation_losses import (
    DISTILLATION_HIDDEN_WEIGHT,
    answer_loss,
    distillation_losses,
    hidden_states,
    learning_rate,
)
from squeeze_onnx.learning.losses import EmbeddingCosine, EmbeddingError, HiddenStateError, LogitDivergence
from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.tiny_encoder import LAYERS, encoder_model


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (ClassLogits("logits", (0, 1)), LogitDivergence("logits")),
        (ScoreHead("score"), EmbeddingError("score", axes=2)),
        (TokenEmbeddings("tokens"), EmbeddingCosine("tokens", axes=3)),
        (SentenceEmbedding("sentence"), EmbeddingCosine("sentence", axes=2)),
    ],
)
def test_every_kind_of_answer_has_its_loss(head: Head, loss: object) -> None:
    assert answer_loss(head) == loss


def test_hidden_states_share_their_weight() -> None:
    model = ir.from_proto(encoder_model())
    states = hidden_states(model)
    answer, *hidden = distillation_losses(model, TokenEmbeddings("last_hidden_state"))
    assert isinstance(answer, EmbeddingCosine)
    assert len(states) > LAYERS
    assert [loss.value for loss in hidden] == list(states)
    assert all(isinstance(loss, HiddenStateError) for loss in hidden)
    assert sum(loss.weight for loss in hidden) == pytest.approx(DISTILLATION_HIDDEN_WEIGHT)


def test_sums_of_attention_scores_are_no_residual_stream() -> None:
    model = tiny_model(
        "g (float[B,T,4] x) => (float[B,T,4] y) { q = MatMul(x, Q) k = Transpose<perm=[0,2,1]>(x) content = MatMul(q, k)"
        " p = MatMul(q, P) position = Expand(p, like) s = Add(content, position) scaled = Mul(s, half) a = Softmax(scaled)"
        " c = MatMul(a, x) o = MatMul(c, O) z = Add(o, q) n = LayerNormalization(z, one) y = MatMul(n, O) }",
        Q=random_weight(4, 4),
        P=random_weight(4, 3),
        O=random_weight(4, 4),
        like=np.array([1, 1, 3]),
        half=np.float32(0.5),
        one=np.ones(4, np.float32),
    )
    assert hidden_states(model) == ("z",)


def test_classes_are_learned_in_smaller_steps() -> None:
    assert learning_rate(ClassLogits("logits", (0, 1))) < learning_rate(TokenEmbeddings("tokens"))
