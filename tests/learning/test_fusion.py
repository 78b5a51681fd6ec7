"""Gelus that exporters write as five nodes."""

from typing import Any

import numpy as np
import pytest

from squeeze_onnx.learning.fusion import fuse_gelus
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

CONSTANTS: dict[str, Any] = {
    "root": np.float32(np.sqrt(2)),
    "inverse": np.float32(1 / np.sqrt(2)),
    "one": np.float32(1),
    "half": np.float32(0.5),
}

FORMS = {
    "half at the end": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "operands the other way around": "d = Mul(inverse, x) e = Erf(d) a = Add(one, e) m = Mul(a, x) y = Mul(half, m)",
    "half at the start": "h = Mul(x, half) d = Div(x, root) e = Erf(d) a = Add(e, one) y = Mul(h, a)",
}
OTHERS = {
    "another scale": "d = Mul(x, half) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)",
    "another factor": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(d, a) y = Mul(m, half)",
    "no half": "d = Div(x, root) e = Erf(d) a = Add(e, one) y = Mul(x, a)",
    "another summand": "d = Div(x, root) e = Erf(d) a = Add(e, half) m = Mul(x, a) y = Mul(m, half)",
    "a part that is needed elsewhere": "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) n = Mul(m, half) y = Add(n, a)",
}


def graph(nodes: str) -> str:
    return f"g (float[B,4] x) => (float[B,4] y) {{ {nodes} }}"


@pytest.mark.parametrize("nodes", FORMS.values(), ids=FORMS)
def test_become_one_node_that_computes_the_same(nodes: str) -> None:
    x = 3 * random_weight(5, 4)
    expected = run(tiny_model(graph(nodes), **CONSTANTS), {"x": x})
    model = tiny_model(graph(nodes), **CONSTANTS)
    assert fuse_gelus(model) == 1
    assert operators(model) == ["Gelu"]
    assert model.graph.outputs[0].name == "y"
    np.testing.assert_allclose(run(model, {"x": x}), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nodes", OTHERS.values(), ids=OTHERS)
def test_are_told_from_what_looks_like_them(nodes: str) -> None:
    model = tiny_model(graph(nodes), **CONSTANTS)
    before = operators(model)
    assert fuse_gelus(model) == 0
    assert operators(model) == before
