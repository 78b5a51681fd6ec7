"""Attention cores: what is left alone, what is found."""

import pytest

from squeeze_onnx.graph.match.attention import attention_cores
from squeeze_onnx.graph.match.operators import mixes
from tests.graph.tiny_graphs import random_weight, tiny_model

SCORES = " t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t) "


@pytest.mark.parametrize(
    "between",
    [
        "e = Identity(s)",
        'e = Einsum<equation="bij->bij">(s)',
        'm = Einsum<equation="bij->bji">(s) e = Einsum<equation="bji->bij">(m)',
    ],
    ids=["nothing", "an Einsum of one operand", "two of them"],
)
def test_is_found_whatever_lies_between_scores_and_softmax(between: str) -> None:
    model = tiny_model(
        "g (float[B,T,4] x) => (float[B,T,4] y)"
        f" {{ q = MatMul(x, Q) k = MatMul(x, K) v = MatMul(x, V) {SCORES} {between} p = Softmax(e) y = MatMul(p, v) }}",
        Q=random_weight(4, 4),
        K=random_weight(4, 4),
        V=random_weight(4, 4),
    )
    (core,) = attention_cores(model.graph, mixes)
    assert core.node is model.graph[-1]
    assert {str(value.name) for value in core.operands} == {"q", "t", "v"}
