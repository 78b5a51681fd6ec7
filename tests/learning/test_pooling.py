"""Embeddings as nodes: the same numbers as arrays give, and slopes that are those of small steps."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.data.embedding import (
    Activation,
    DenseLayer,
    Embedding,
    EmbeddingModule,
    LayerNorm,
    Normalize,
    Pooling,
)
from squeeze_onnx.evaluate.answer_heads import SentenceEmbedding, TokenEmbeddings
from squeeze_onnx.learning.distillation_losses import answer_loss
from squeeze_onnx.learning.draws import DrawnEmbedding, drawn_loss
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.gradients import differentiate
from squeeze_onnx.learning.losses import LOSS, EmbeddingError, attach_losses
from squeeze_onnx.learning.pooling import embedded
from tests.graph.execution import run
from tests.graph.tiny_graphs import random_weight, tiny_model

TOKENS = "g (float[B,T,4] x) => (float[B,T,4] y) { y = MatMul(x, p) }"
MASKS = {
    "padding on the right": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.float32),
    "padding on the left": np.array([[1, 1, 1, 1], [0, 1, 1, 1]], np.float32),
}


def dense(width: int, activation: Activation = Activation.TANH, *, inputs: int, residual: bool = False) -> DenseLayer:
    weight, bias = (random_weight(*shape, seed=width).astype(np.float64) for shape in ((inputs, width), (width,)))
    extra = random_weight(inputs, width, seed=9).astype(np.float64) if residual else None
    return DenseLayer("f", str(width), activation, residual, weight, bias, extra)


def by_nodes(embedding: Embedding, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    model = tiny_model(TOKENS, p=np.eye(4, dtype=np.float32))
    emit = Emitter(model, "e")
    value = ir.Value(name="mask", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None, None, 1]))
    model.graph.inputs.append(value)
    found = embedded(emit, model.graph.outputs[0], value, embedding, axes=3)
    found.type, found.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, None])
    model.graph.outputs[:] = [found]
    output: np.ndarray = run(model, {"x": tokens, "mask": mask[..., np.newaxis]})[0]
    return output


@pytest.mark.parametrize("unpooled", [0, 2])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("pooling", [*((name,) for name in Pooling), tuple(Pooling)], ids="+".join)
def test_pooling_by_nodes_is_that_of_arrays(pooling: tuple[Pooling, ...], mask: np.ndarray, unpooled: int) -> None:
    embedding = Embedding(pooling, include_prompt=False, prompt_tokens=unpooled)
    tokens = random_weight(2, 4, 4, seed=2)
    found = by_nodes(embedding, tokens, mask)
    np.testing.assert_allclose(found, embedding.of_tokens(tokens, mask), rtol=1e-5, atol=1e-6)


MODULES: dict[str, Sequence[EmbeddingModule]] = {
    **{str(activation): [dense(3, activation, inputs=4)] for activation in Activation},
    "residual": [dense(3, inputs=4, residual=True)],
    "LayerNorm": [LayerNorm("f", "0", np.arange(4.0), np.ones(4))],
    "Normalize": [Normalize()],
    "all": [dense(6, inputs=4), LayerNorm("f", "0", np.arange(6.0), np.ones(6)), dense(5, inputs=6), Normalize()],
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_by_nodes_are_those_of_arrays(name: str) -> None:
    embedding = Embedding(modules=tuple(MODULES[name]), dimensions=2)
    tokens, mask = random_weight(2, 4, 4, seed=3), MASKS["padding on the right"]
    np.testing.assert_allclose(
        by_nodes(embedding, tokens, mask), embedding.of_tokens(tokens, mask), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("pooling", [(name,) for name in Pooling], ids=lambda names: names[0])
def test_slopes_are_those_of_small_steps(pooling: tuple[Pooling, ...]) -> None:
    embedding = Embedding(pooling, (dense(3, inputs=4), Normalize()))
    weight = random_weight(4, 4, seed=5)
    model = tiny_model(TOKENS, p=weight)
    graph = attach_losses(model, [EmbeddingError("y", embedding=embedding)])
    [target] = graph.targets.values()
    mask = MASKS["padding on the right"]
    teacher = random_weight(2, 4, 4, seed=7) * mask[..., np.newaxis]
    feeds = {"x": random_weight(2, 4, 4, seed=6), graph.masks["y"]: mask, target: teacher}
    found = differentiate(graph.model, ["p"], LOSS, feeds)
    values = dict(
        zip((value.name for value in found.model.graph.outputs), run(found.model, feeds | {"p": weight}), strict=True)
    )
    gradient = values[found.gradients["p"]]

    def loss(at: np.ndarray) -> float:
        tokens = feeds["x"].astype(np.float64) @ at
        student, expected = (embedding.of_tokens(each, mask) for each in (tokens, teacher))
        return float(np.square(student - expected).sum() / np.square(expected).sum())

    for place in [(0, 0), (1, 3), (3, 2)]:
        step = np.zeros((4, 4))
        step[place] = 1e-5
        slope = (loss(weight + step) - loss(weight - step)) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=2e-3, abs=1e-5)


def test_losses_are_made_of_what_the_head_makes_of_an_output() -> None:
    embedding = Embedding((Pooling.CLS, Pooling.MEAN), (dense(3, inputs=8),))
    tokens = TokenEmbeddings("y", embedding)
    assert answer_loss(tokens).embedding == embedding  # type: ignore[attr-defined]
    drawn = drawn_loss(tokens)
    assert isinstance(drawn, DrawnEmbedding)
    assert drawn.embedding == embedding
    assert drawn.draw(np.random.default_rng(0), (2, 5, 4)).shape == (2, 3)
    pooled = drawn_loss(SentenceEmbedding("y", Embedding(dimensions=2)))
    assert pooled.draw(np.random.default_rng(0), (2, 4)).shape == (2, 2)
