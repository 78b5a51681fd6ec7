"""What an embedding is, worked out by hand."""

import numpy as np
import pytest

from squeeze_onnx.data.embedding import Activation, DenseLayer, Embedding, LayerNorm, Normalize, Pooling, pool

TOKENS = np.array([[[1.0, -4.0], [2.0, 0.0], [6.0, 1.0], [9.0, 9.0]], [[5.0, 5.0], [3.0, 3.0], [7.0, 7.0], [1.0, 2.0]]])
RIGHT = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
LEFT = np.array([[0, 1, 1, 1], [0, 0, 0, 1]])


def padded_left(tokens: np.ndarray) -> np.ndarray:
    """Move what `RIGHT` calls text to where `LEFT` does."""
    moved = np.full_like(tokens, 50.0)
    for row, (source, target) in enumerate(zip(RIGHT, LEFT, strict=True)):
        moved[row, target > 0] = tokens[row, source > 0]
    return moved


@pytest.mark.parametrize("left", [False, True], ids=["padding on the right", "padding on the left"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Pooling.CLS, [[1, -4], [5, 5]]),
        (Pooling.LAST, [[6, 1], [5, 5]]),
        (Pooling.MAX, [[6, 1], [5, 5]]),
        (Pooling.MEAN, [[3, -1], [5, 5]]),
        (Pooling.MEAN_SQRT_LENGTH, [[9 / 3**0.5, -(3**0.5)], [5, 5]]),
        (Pooling.WEIGHTED_MEAN, [[23 / 6, -1 / 6], [5, 5]]),
    ],
)
def test_each_way_of_pooling_sees_text_only(left: bool, name: Pooling, expected: list[list[float]]) -> None:
    tokens, mask = (padded_left(TOKENS), LEFT) if left else (TOKENS, RIGHT)
    np.testing.assert_allclose(pool((name,), tokens, mask), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (Pooling.CLS, [2, 0]),
        (Pooling.LAST, [6, 1]),
        (Pooling.MAX, [6, 1]),
        (Pooling.MEAN, [4, 0.5]),
        (Pooling.MEAN_SQRT_LENGTH, [8 / 2**0.5, 1 / 2**0.5]),
        (Pooling.WEIGHTED_MEAN, [(2 * 2 + 3 * 6) / 5, 3 / 5]),
    ],
)
def test_the_tokens_of_a_prompt_can_be_left_out(name: Pooling, expected: list[float]) -> None:
    np.testing.assert_allclose(pool((name,), TOKENS, RIGHT, unpooled=1)[0], expected)
    np.testing.assert_allclose(pool((name,), padded_left(TOKENS), LEFT, unpooled=1)[0], expected)


def test_several_ways_are_joined_in_order() -> None:
    found = pool((Pooling.LAST, Pooling.CLS), TOKENS, RIGHT)
    np.testing.assert_array_equal(found, [[6, 1, 1, -4], [5, 5, 5, 5]])


def dense(activation: Activation, **more: np.ndarray | None) -> DenseLayer:
    weight = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]])
    return DenseLayer("2_Dense/model.safetensors", "0" * 64, activation, "residual" in more, weight, **more)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Activation.IDENTITY, [1, -2, 4]),
        (Activation.RELU, [1, 0, 4]),
        (Activation.TANH, np.tanh([1, -2, 4])),
        (Activation.SIGMOID, 1 / (1 + np.exp([-1, 2, -4]))),
        (Activation.SILU, [1 / (1 + np.exp(-1)), -2 / (1 + np.exp(2)), 4 / (1 + np.exp(-4))]),
        (Activation.GELU, [0.841344746, -0.045500264, 3.999873315]),
    ],
)
def test_a_dense_module_is_a_product_and_a_function(activation: Activation, expected: list[float]) -> None:
    np.testing.assert_allclose(dense(activation).apply(np.array([[1.0, 2.0]])), [expected], rtol=1e-8)


def test_a_dense_module_adds_its_bias_before_the_function_and_its_input_after_it() -> None:
    bias, residual = np.array([-3.0, 3.0, 0.0]), np.array([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]])
    found = dense(Activation.RELU, bias=bias, residual=residual).apply(np.array([[1.0, 2.0]]))
    np.testing.assert_allclose(found, [[0 + 10, 1 + 20, 4 + 0]])


def test_a_dense_module_of_one_width_adds_its_input_as_it_is() -> None:
    square = DenseLayer("f", "0", Activation.TANH, True, np.zeros((2, 2)))
    np.testing.assert_allclose(square.apply(np.array([[1.0, 2.0]])), [[1.0, 2.0]])


def test_normalizing_twice_is_normalizing_once_and_a_zero_stays_zero() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    once = Normalize().apply(rows)
    np.testing.assert_allclose(once, [[0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(Normalize().apply(once), once)


def test_layer_norm_is_that_of_pytorch() -> None:
    import torch

    rows = np.random.default_rng(0).standard_normal((3, 5))
    weight, bias = np.arange(5.0), np.ones(5)
    expected = torch.nn.functional.layer_norm(*(torch.tensor(rows), (5,), torch.tensor(weight), torch.tensor(bias)))
    np.testing.assert_allclose(LayerNorm("f", "0", weight, bias).apply(rows), expected.numpy())


def test_an_embedding_goes_through_its_modules_and_keeps_its_first_dimensions() -> None:
    embedding = Embedding((Pooling.CLS,), (dense(Activation.IDENTITY), Normalize()), dimensions=2)
    np.testing.assert_allclose(embedding.of_tokens(TOKENS[1:], RIGHT[1:]), [[5 / 275**0.5, -5 / 275**0.5]])
    assert (embedding.in_features, embedding.width_of(2)) == (2, 2)


class TestPooledInTheGraph:
    EMBEDDING = Embedding((Pooling.MEAN,), (dense(Activation.TANH), Normalize()), prompt="query: ")

    def test_what_follows_the_last_weights_is_left_to_do(self) -> None:
        assert self.EMBEDDING.outside_of_graph(3).modules == (Normalize(),)
        assert self.EMBEDDING.outside_of_graph(None).modules == (Normalize(),)
        assert self.EMBEDDING.outside_of_graph(3).prompt == "query: "

    def test_weights_that_take_what_the_graph_returns_are_not_in_it(self) -> None:
        assert self.EMBEDDING.outside_of_graph(2) == self.EMBEDDING

    def test_without_weights_nothing_changes(self) -> None:
        plain = Embedding(modules=(Normalize(),))
        assert plain.outside_of_graph(7) == plain


def test_modules_are_told_apart_by_their_files() -> None:
    first = dense(Activation.TANH)
    other = DenseLayer(first.file, "1" * 64, first.activation, False, first.weight)
    assert first == dense(Activation.TANH)
    assert first != other
    assert repr(first) != repr(other)
