"""Gelu, normalization and embedding on tiny graphs: what is fused, and what is not."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.fused.fused_layers import fuse_exact_gelu
from squeeze_onnx.graph.fused.fusion import fuse
from squeeze_onnx.graph.rewrite.insertion import Inserter
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

FEATURES = 4
X = random_weight(2, 3, FEATURES, seed=7)
NUMBERS: dict[str, Any] = {
    "half": np.float32(0.5),
    "one": np.float32(1),
    "root": np.float32(np.sqrt(2)),
    "cubic": np.float32(0.044715),
    "three": np.float32(3),
    "slope": np.float32(np.sqrt(2 / np.pi)),
}
LINEAR = "u = MatMul(x, W)  a = Add(u, bias)"
ERF = "d = Div(a, root)  e = Erf(d)  f = Add(e, one)"
TANH = "d = Pow(a, three)  d1 = Mul(d, cubic)  d2 = Add(a, d1)  d3 = Mul(d2, slope)  e = Tanh(d3)  f = Add(e, one)"


def activation_model(body: str) -> ir.Model:
    signature = f"g (float[B,S,{FEATURES}] x) => (float[B,S,{FEATURES}] y)"
    weights: dict[str, Any] = {"W": random_weight(FEATURES, FEATURES), "bias": random_weight(FEATURES, seed=1)}
    return tiny_model(f"{signature} {{ {body} }}", **weights, **NUMBERS)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(f"{LINEAR} {ERF} g = Mul(a, f)  y = Mul(g, half)", "BiasGelu", id="by optimum"),
        pytest.param(f"{LINEAR} {ERF} g = Mul(half, f)  y = Mul(a, g)", "BiasGelu", id="by dynamo"),
        pytest.param(f"{LINEAR} {TANH} g = Mul(a, half)  y = Mul(g, f)", "FastGelu", id="by tanh"),
        pytest.param(f"a = MatMul(x, W) {ERF} g = Mul(a, f)  y = Mul(g, half)", "Gelu", id="without a bias"),
    ],
)
def test_a_gelu_is_fused_with_the_bias_before_it(body: str, expected: str) -> None:
    fused = activation_model(body)
    fuse(fused, "cuda")
    assert operators(fused) == ["MatMul", expected]
    for level in ("DISABLE_ALL", "ENABLE_ALL"):
        np.testing.assert_allclose(run(fused, {"x": X}, level), run(activation_model(body), {"x": X}), atol=1e-5)


def test_an_exact_gelu_is_fused_without_its_bias() -> None:
    body = f"{LINEAR} {ERF} g = Mul(a, f)  y = Mul(g, half)"
    fused = activation_model(body)
    fuse_exact_gelu(Inserter(fused))
    RemoveUnusedNodesPass()(fused)
    assert operators(fused) == ["MatMul", "Add", "Gelu"]
    np.testing.assert_allclose(run(fused, {"x": X}), run(activation_model(body), {"x": X}), atol=1e-5)
    tanh = activation_model(f"{LINEAR} {TANH} g = Mul(a, half)  y = Mul(g, f)")
    before = operators(tanh)
    fuse_exact_gelu(Inserter(tanh))
    assert operators(tanh) == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{LINEAR} {ERF} y = Mul(a, f)", id="twice a Gelu"),
        pytest.param(
            f"{LINEAR} d = Mul(a, root)  e = Erf(d)  f = Add(e, one)  g = Mul(a, f)  y = Mul(g, half)",
            id="another slope",
        ),
        pytest.param(f"{LINEAR} y = Tanh(a)", id="a pooler"),
    ],
)
def test_what_is_no_gelu_is_left_alone(body: str) -> None:
    model = activation_model(body)
    before = operators(model)
    fuse(model, "cuda")
    assert operators(model) == before


def normalization_model(body: str, outputs: str = "y") -> ir.Model:
    returned = ", ".join(f"float[B,S,{FEATURES}] {name}" for name in outputs.split())
    weights: dict[str, Any] = {"W": random_weight(FEATURES, FEATURES), "V": random_weight(FEATURES, FEATURES, seed=2)}
    vectors: dict[str, Any] = {
        name: random_weight(FEATURES, seed=seed) for seed, name in enumerate(("bias", "scale", "shift"), 3)
    }
    signature = f"g (float[B,S,{FEATURES}] x, float[1,S,{FEATURES}] z) => ({returned})"
    return tiny_model(f"{signature} {{ {body} }}", **weights, **vectors)


NORMALIZED = "y = LayerNormalization<axis = -1, epsilon = 0.01>(s, scale, shift)"
NORM_FEEDS = {"x": X, "z": X[:1]}


@pytest.mark.parametrize("order", ["a, v", "v, a"])
def test_a_normalized_sum_of_two_streams_is_fused_with_its_bias(order: str) -> None:
    body = f"u = MatMul(x, W)  a = Add(u, bias)  v = MatMul(x, V)  s = Add({order}) {NORMALIZED}"
    fused = normalization_model(body)
    fuse(fused, "cuda")
    assert operators(fused) == ["MatMul", "MatMul", "SkipLayerNormalization"]
    np.testing.assert_allclose(run(fused, NORM_FEEDS), run(normalization_model(body), NORM_FEEDS), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        pytest.param(f"u = MatMul(x, W)  s = Add(u, z) {NORMALIZED}", "y", id="one is broadcast over sequences"),
        pytest.param(
            f"u = MatMul(x, W)  v = MatMul(x, V)  s = Add(u, v) {NORMALIZED}", "y s", id="the sum is returned"
        ),
        pytest.param(f"u = MatMul(x, W)  s = Add(u, bias) {NORMALIZED}", "y", id="a bias is no stream"),
    ],
)
def test_other_normalizations_are_left_alone(body: str, outputs: str) -> None:
    model = normalization_model(body, outputs)
    before = operators(model)
    fuse(model, "cuda")
    assert operators(model) == before


def embedding_model(body: str) -> ir.Model:
    signature = f"g (int64[B,S] ids, int64[B,S] kinds, int64[1,S] places) => (float[B,S,{FEATURES}] y)"
    tables: dict[str, Any] = {
        "words": random_weight(20, FEATURES),
        "positions": random_weight(9, FEATURES, seed=1),
        "segments": random_weight(2, FEATURES, seed=2),
        "first": np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8]]),
        "zero": np.array([0]),
        "second": np.array([1]),
        "scale": random_weight(FEATURES, seed=3),
        "shift": random_weight(FEATURES, seed=4),
    }
    return tiny_model(f"{signature} {{ {body} }}", **tables)


WORDS = "w = Gather(words, ids)"
SLICED = "n = Shape<start = 1, end = 2>(ids)  i = Slice(first, zero, n, second)  p = Gather(positions, i)"
SEGMENTS = "t = Gather(segments, kinds)"
EMBEDDING_FEEDS = {
    "ids": np.array([[5, 6, 7], [8, 19, 0]]),
    "kinds": np.array([[0, 0, 1], [0, 1, 1]]),
    "places": np.array([[0, 1, 2]]),
}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{WORDS} {SLICED} s = Add(w, p) {NORMALIZED}", id="words and positions"),
        pytest.param(f"{WORDS} {SLICED} {SEGMENTS} r = Add(w, t)  s = Add(r, p) {NORMALIZED}", id="and segments"),
        pytest.param(f"{WORDS} {SLICED} {SEGMENTS} r = Add(p, t)  s = Add(r, w) {NORMALIZED}", id="in another order"),
        pytest.param(
            f"{WORDS} c = Abs(ids) m = Min(c, second) p = Gather(positions, m) s = Add(w, p) {NORMALIZED}",
            id="own positions",
        ),
    ],
)
def test_a_normalized_sum_of_lookups_is_fused(body: str) -> None:
    fused = embedding_model(body)
    fuse(fused, "cuda")
    assert "EmbedLayerNormalization" in operators(fused)
    assert "LayerNormalization" not in operators(fused)
    np.testing.assert_allclose(run(fused, EMBEDDING_FEEDS), run(embedding_model(body), EMBEDDING_FEEDS), atol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{WORDS} {NORMALIZED.replace('(s', '(w')}", id="words alone"),
        pytest.param(f"{WORDS} {SLICED} r = Relu(w)  s = Add(r, p) {NORMALIZED}", id="something in between"),
        pytest.param(
            f"w = Gather(words, places) {SLICED} s = Add(w, p) {NORMALIZED}", id="no word of its own for a sequence"
        ),
    ],
)
def test_other_embeddings_are_left_alone(body: str) -> None:
    model = embedding_model(body)
    fuse(model, "cuda")
    assert "LayerNormalization" in operators(model)
