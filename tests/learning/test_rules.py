"""Every rule against torch's autograd, on a graph of one operator."""

import numpy as np
import pytest
import torch

from squeeze_onnx.learning.rules import RULES
from squeeze_onnx.support.errors import ModelError
from tests.graph.tiny_graphs import tiny_model
from tests.learning.differentiation import gradients, relative_error
from tests.learning.rule_cases import BERT_CASES, WIDE, Case
from tests.learning.rule_cases_of_others import CASES_OF_OTHERS

CASES = BERT_CASES | CASES_OF_OTHERS


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_agrees_with_autograd(case: Case) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(WIDE).astype(np.float32)
    p = np.asarray(rng.standard_normal(case.shape) + case.above, dtype=np.float32)
    model = tiny_model(
        f"g (float[B,T,4] x) => (float loss) {{ {case.nodes} square = Mul(y, y) cube = Mul(square, y)"
        " both = Add(square, cube) loss = ReduceSum<keepdims=0>(both) }",
        opset=case.opset,
        p=p,
        **case.constants,
    )
    found = gradients(model, ["p"], {"x": x})["p"]
    parameter = torch.tensor(p, requires_grad=True)
    y = case.formula(torch.tensor(x), parameter)
    (y**2 + y**3).sum().backward()
    assert parameter.grad is not None
    assert found.shape == p.shape
    assert relative_error(found, parameter.grad.numpy()) < 1e-5


@pytest.mark.parametrize(
    ("entries", "gradient"),
    [([2, 3, 4], [12, 8, 6]), ([0, 3, 4], [12, 0, 0]), ([0, 3, 0], [0, 0, 0])],
    ids=["no zero", "a zero", "two zeros"],
)
def test_of_a_product_with_zeros_is_that_of_the_others(entries: list[float], gradient: list[float]) -> None:
    model = tiny_model(
        "g (float[B] x) => (float loss) { q = Mul(x, p) m = ReduceProd<keepdims=0>(q) loss = Identity(m) }",
        p=np.array(entries, np.float32),
    )
    np.testing.assert_array_equal(gradients(model, ["p"], {"x": np.ones(3, np.float32)})["p"], gradient)


def test_goes_straight_through_rounding() -> None:
    model = tiny_model(
        "g (float[B,4] x) => (float loss) { q = Mul(x, p) i = QuantizeLinear(q, s, z) f = DequantizeLinear(i, s, z)"
        " loss = ReduceSum<keepdims=0>(f) }",
        p=np.ones(4, np.float32),
        s=np.linspace(0.01, 0.05, 4, dtype=np.float32),
        z=np.zeros(4, np.int8),
    )
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_allclose(gradients(model, ["p"], {"x": x})["p"], x.sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("message", "nodes"),
    [
        ("Einsum 'it' takes a diagonal", 'e = Mul(p, x) [it] y = Einsum<equation="bii->bi">(e)'),
        ("AveragePool 'it' pads by the size of its input", "[it] y = AveragePool<kernel_shape=[2],ceil_mode=1>(p)"),
        ("ScatterND 'it' reduces by max", '[it] y = ScatterND<reduction="max">(p, i, x)'),
    ],
)
def test_tells_what_it_cannot(message: str, nodes: str) -> None:
    model = tiny_model(
        f"g (float[B,T,T] x) => (float loss) {{ {nodes} loss = ReduceSum<keepdims=0>(y) }}",
        p=np.ones((2, 3, 3), np.float32),
        i=np.array([[0], [1]]),
    )
    with pytest.raises(ModelError, match=message):
        gradients(model, ["p"], {"x": np.ones((2, 3, 3), np.float32)})


def test_every_rule_is_tried() -> None:
    tried = {word.split("(")[0].split("<")[0] for case in CASES.values() for word in case.nodes.split()}
    # The fusion makes the first of the Gelu that exporters write; rounding has a test of its own.
    assert set(RULES) - {"com.microsoft.Gelu", "QuantizeLinear", "DequantizeLinear"} <= tried
