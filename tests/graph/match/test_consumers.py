"""Where the product of a weight goes."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.consumers import find_bias, find_residual
from squeeze_onnx.graph.match.dataflow import joins
from squeeze_onnx.graph.match.operators import MIXERS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from tests.graph.tiny_graphs import random_weight, tiny_model

W, BIAS = random_weight(4, 4), random_weight(4, seed=1)


def model_with(body: str, **constants: Any) -> tuple[ir.Model, MatMulSite]:
    model = tiny_model(f"g (float[B,4] x, float[B,4] r) => (float[B,4] z) {{ {body} }}", **constants)
    (site,) = [site for site in find_sites(model).sites if site.weight.name == "W"]
    return model, site


def bias_name(body: str, **constants: Any) -> str | None:
    bias = find_bias(model_with(body, W=W, **constants)[1])
    if bias is None:
        return None
    value = bias.node.inputs[bias.operand]
    assert value is not None
    return value.name


def stream_name(after: str) -> str | None:
    stream = "s = MatMul(r, V) h = MatMul(s, U)"
    model, site = model_with(
        f"{stream} {after}", W=W, b=BIAS, V=random_weight(4, 4, seed=2), U=random_weight(4, 4, seed=3)
    )
    residual = find_residual(site, joins(model.graph, lambda node: op_of(node) in MIXERS))
    return None if residual is None else residual.name


class TestBias:
    @pytest.mark.parametrize(
        ("body", "name"),
        [
            ("y = MatMul(x, W) z = Add(y, b)", "b"),
            ("y = MatMul(x, W) z = Add(b, y)", "b"),
            ("c = Identity(b) y = MatMul(x, W) z = Add(y, c)", "c"),
            ("z = Gemm(x, W, b)", "b"),
        ],
        ids=["added after", "added before", "behind Identity", "inside Gemm"],
    )
    def test_is_found(self, body: str, name: str) -> None:
        assert bias_name(body, b=BIAS) == name

    @pytest.mark.parametrize(
        "body",
        [
            "z = MatMul(x, W)",
            "y = MatMul(x, W) z = Add(y, r)",
            "y = MatMul(x, W) z = Add(y, s)",
            "y = MatMul(x, W) u = Add(y, b) z = Mul(u, y)",
            "y = MatMul(x, W) z = Mul(y, b)",
        ],
        ids=["nothing is added", "an activation is added", "a number is added", "the product is read twice", "a scale"],
    )
    def test_is_not_there(self, body: str) -> None:
        assert bias_name(body, b=BIAS, s=np.ones(1, np.float32)) is None

    def test_of_a_gemm_with_factors_is_not_what_the_product_misses(self) -> None:
        assert bias_name("z = Gemm<alpha = 0.5>(x, W, b)", b=BIAS) is None
        assert bias_name("z = Gemm<alpha = 1.0>(x, W, b)", b=BIAS) == "b"


class TestResidualStream:
    @pytest.mark.parametrize(
        "after",
        [
            "y = MatMul(h, W) z = Add(y, s)",
            "y = MatMul(h, W) u = Add(y, b) z = Add(s, u)",
            "y = MatMul(h, W) u = Add(y, b) v = Identity(u) z = Add(v, s)",
            "u = Gemm(h, W, b) z = Add(u, s)",
        ],
        ids=["at once", "after the bias", "after Identity", "after Gemm"],
    )
    def test_is_what_the_product_is_added_to(self, after: str) -> None:
        assert stream_name(after) == "s"

    @pytest.mark.parametrize(
        "after",
        [
            "z = MatMul(h, W)",
            "y = MatMul(h, W) u = Relu(y) z = Add(u, s)",
            "y = MatMul(h, W) z = Mul(y, s)",
            "u = Gemm<alpha = 2.0>(h, W, b) z = Add(u, s)",
        ],
        ids=["nothing follows", "a nonlinearity comes first", "a gate", "a factor"],
    )
    def test_is_not_there(self, after: str) -> None:
        assert stream_name(after) is None
