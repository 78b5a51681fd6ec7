"""Attention on tiny graphs: what is fused, into what, and what only looks like attention."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.fused.fusion import fuse
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

HEADS, SIZE, HIDDEN = 2, 3, 6
X = random_weight(2, 5, HIDDEN, seed=9)
MASK = np.where(np.arange(5) < np.array([[5], [3]]), 0, -1e4).astype(np.float32)[:, None, None, :]
FEEDS = {"x": X, "mask": MASK}

SCALED = "w = Mul(s, scale)"
MASKED = "l = Add(w, mask)"
PLAIN = {"scale": np.float32(SIZE**-0.5)}


def model(
    *,
    before: str = "",
    rows: str = "x",
    query: str = "MatMul({rows}, Q)",
    scores: str = SCALED,
    logits: str = MASKED,
    axis: int = -1,
    sizes: str = "B,S",
    **constants: Any,
) -> ir.Model:
    graph = f"""
        g (float[{sizes},{HIDDEN}] x, float[B,1,1,S] mask) => (float[B,S,{HIDDEN}] y) {{
            {before}
            q0 = {query.format(rows=rows)}
            q1 = Add(q0, bias)
            k1 = MatMul({rows}, K)
            v0 = MatMul({rows}, V)
            v1 = Add(bias, v0)
            q2 = Reshape(q1, split)   q = Transpose<perm = [0, 2, 1, 3]>(q2)
            k2 = Reshape(k1, split)   k = Transpose<perm = [0, 2, 3, 1]>(k2)
            v2 = Reshape(v1, split)   v = Transpose<perm = [0, 2, 1, 3]>(v2)
            s = MatMul(q, k)
            {scores}
            {logits}
            p = Softmax<axis = {axis}>(l)
            c0 = MatMul(p, v)
            c1 = Transpose<perm = [0, 2, 1, 3]>(c0)
            c = Reshape(c1, joined)
            y = MatMul(c, O)
        }}"""
    weights = {name: random_weight(HIDDEN, HIDDEN, seed=seed) for seed, name in enumerate("QKVO")}
    shapes = {"split": np.array([0, 0, HEADS, SIZE]), "joined": np.array([0, 0, HIDDEN])}
    return tiny_model(graph, bias=random_weight(HIDDEN, seed=8), **{**weights, **shapes, **PLAIN, **constants})


def fused_node(fused: ir.Model) -> ir.Node:
    [node] = [node for node in fused.graph if "Attention" in node.op_type]
    return node


def assert_same_outputs(fused: ir.Model, before: ir.Model) -> None:
    for level in ("DISABLE_ALL", "ENABLE_ALL"):
        np.testing.assert_allclose(run(fused, FEEDS, level)[0], run(before, FEEDS)[0], rtol=0, atol=1e-5)


def test_products_of_the_same_rows_move_into_the_attention() -> None:
    fused = model()
    fuse(fused, "cuda")
    assert operators(fused) == ["Shape", "Slice", "Concat", "Expand", "Attention", "MatMul"]
    node = fused_node(fused)
    assert node.inputs[1] is not None
    assert list(node.inputs[1].shape or ()) == [HIDDEN, 3 * HIDDEN]
    assert node.attributes["num_heads"].as_int() == HEADS
    assert node.attributes["scale"].as_float() == pytest.approx(SIZE**-0.5)
    assert_same_outputs(fused, model())


def test_products_of_different_rows_stay_before_the_attention() -> None:
    thin: dict[str, Any] = {"L": random_weight(HIDDEN, 2), "R": random_weight(2, HIDDEN)}
    factored: dict[str, Any] = {"query": "MatMul(h, R)", "before": "h = MatMul(x, L)", **thin}
    fused = model(**factored)
    fuse(fused, "cuda")
    assert [op for op in operators(fused) if "M" in op] == ["MatMul"] * 4 + ["MultiHeadAttention", "MatMul"]
    assert_same_outputs(fused, model(**factored))


def test_a_shared_left_factor_stays_before_an_attention_of_thin_weights() -> None:
    thin: dict[str, Any] = {name: random_weight(2, HIDDEN, seed=seed) for seed, name in enumerate("QKV")}
    shared: dict[str, Any] = {"before": "h = MatMul(x, L)", "rows": "h", "L": random_weight(HIDDEN, 2), **thin}
    fused = model(**shared)
    fuse(fused, "cuda")
    weight = fused_node(fused).inputs[1]
    assert weight is not None
    assert list(weight.shape or ()) == [2, 3 * HIDDEN]
    assert_same_outputs(fused, model(**shared))


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param({"scores": "w = Div(s, scale)", "scale": np.float32(0.7)}, id="an unusual scale"),
        pytest.param({"scores": "w = Identity(s)"}, id="no scale"),
        pytest.param({"logits": "l = Identity(w)"}, id="no mask"),
        pytest.param({"sizes": "2,5", "split": np.array([2, 5, HEADS, SIZE])}, id="fixed sizes"),
        pytest.param({"logits": "m = Add(w, position)  l = Add(mask, m)"}, id="a second bias"),
    ],
)
def test_spellings_of_attention_are_fused(spelling: dict[str, Any]) -> None:
    position: dict[str, Any] = {"position": random_weight(1, HEADS, 5, 5)}
    fused = model(**spelling, **position)
    fuse(fused, "cuda")
    assert "Softmax" not in operators(fused)
    assert_same_outputs(fused, model(**spelling, **position))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"axis": -2}, id="normalized over queries"),
        pytest.param(
            {"scores": "w = Identity(s)", "logits": "m = Add(w, mask)  l = Mul(m, scale)"}, id="the mask scaled"
        ),
        pytest.param({"logits": "l = Mul(w, mask)"}, id="the mask multiplied"),
        pytest.param({"logits": "m = Add(w, mask)  l = Relu(m)"}, id="the scores rectified"),
        pytest.param({"joined": np.array([0, -1, SIZE])}, id="heads joined otherwise"),
        pytest.param({"query": "Relu(x)"}, id="a query that is no product"),
    ],
)
def test_what_is_no_attention_is_left_alone(other: dict[str, Any]) -> None:
    weights: dict[str, Any] = {"O": random_weight(SIZE, HIDDEN)} if "joined" in other else {}
    before = model(**other, **weights)
    ops = operators(before)
    fuse(before, "cuda")
    assert operators(before) == ops


def test_layers_that_share_weights_share_the_packed_weight_and_the_bias_of_their_scores() -> None:
    layer = """
        q{0} = MatMul({1}, Q)  k{0} = MatMul({1}, K)  v{0} = MatMul({1}, V)
        qs{0} = Reshape(q{0}, split)  qh{0} = Transpose<perm = [0, 2, 1, 3]>(qs{0})
        ks{0} = Reshape(k{0}, split)  kh{0} = Transpose<perm = [0, 2, 3, 1]>(ks{0})
        vs{0} = Reshape(v{0}, split)  vh{0} = Transpose<perm = [0, 2, 1, 3]>(vs{0})
        s{0} = MatMul(qh{0}, kh{0})  l{0} = Add(s{0}, mask)  p{0} = Softmax<axis = -1>(l{0})
        c{0} = MatMul(p{0}, vh{0})  t{0} = Transpose<perm = [0, 2, 1, 3]>(c{0})  y{0} = Reshape(t{0}, joined)"""
    graph = (
        f"g (float[B,S,{HIDDEN}] x, float[B,1,1,S] mask) => (float[B,S,{HIDDEN}] y1)"
        f"{{ {layer.format(0, 'x')} {layer.format(1, 'y0')} }}"
    )
    constants: dict[str, Any] = {name: random_weight(HIDDEN, HIDDEN, seed=seed) for seed, name in enumerate("QKV")}
    constants |= {"split": np.array([0, 0, HEADS, SIZE]), "joined": np.array([0, 0, HIDDEN])}
    fused = tiny_model(graph, **constants)
    fuse(fused, "cuda")
    first, second = (node for node in fused.graph if node.op_type == "Attention")
    assert first.inputs[1] is second.inputs[1]
    assert first.inputs[5] is second.inputs[5]
    assert_same_outputs(fused, tiny_model(graph, **constants))
