"""Operators that ONNX defines by others, against torch's autograd."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.learning.differentiation import gradients, relative_error

F = torch.nn.functional


@dataclass(frozen=True)
class Case:
    """Nodes that make y of the input x (2, 3, 8) and the parameter p (2, 3, 8); the same in torch."""

    nodes: str
    formula: Callable[[Any, Any], Any]
    constants: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 23


def heads(x: Any, count: int) -> Any:
    return x.reshape(2, 3, count, -1).transpose(1, 2)


def joined(x: Any) -> Any:
    return x.transpose(1, 2).reshape(2, 3, -1)


def rotated(x: Any, cosines: Any, sines: Any) -> Any:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cosines - b * sines, b * cosines + a * sines], -1)


ANGLES = np.arange(3, dtype=np.float32)[:, None] * np.array([1, 0.1], np.float32)
TABLES = {"c": np.cos(ANGLES), "s": np.sin(ANGLES), "at": np.array([[0, 1, 2]] * 2)}
MASK = np.repeat(np.array([[[[True, True, False]]], [[[True, True, True]]]]), 3, axis=2)

CASES = {
    "Attention, features in heads": Case(
        "y = Attention<q_num_heads=2,kv_num_heads=2>(p, x, p)",
        lambda x, p: joined(F.scaled_dot_product_attention(heads(p, 2), heads(x, 2), heads(p, 2))),
    ),
    "Attention, causal": Case(
        "y = Attention<q_num_heads=4,kv_num_heads=4,is_causal=1,scale=0.3>(x, p, x)",
        lambda x, p: joined(
            F.scaled_dot_product_attention(heads(x, 4), heads(p, 4), heads(x, 4), is_causal=True, scale=0.3)
        ),
    ),
    "Attention, masked, an opset later": Case(
        "y = Attention<q_num_heads=2,kv_num_heads=2>(p, p, x, m)",
        lambda x, p: joined(
            F.scaled_dot_product_attention(heads(p, 2), heads(p, 2), heads(x, 2), attn_mask=torch.tensor(MASK))
        ),
        {"m": MASK},
        opset=24,
    ),
    "Attention, of grouped heads": Case(
        "k = Slice(x, zero, four, two) v = Slice(p, zero, four, two) y = Attention<q_num_heads=4,kv_num_heads=2>(p, k, v)",
        lambda x, p: joined(
            F.scaled_dot_product_attention(heads(p, 4), heads(x[..., :4], 2), heads(p[..., :4], 2), enable_gqa=True)
        ),
        {"zero": np.array([0]), "four": np.array([4]), "two": np.array([2])},
    ),
    "RotaryEmbedding": Case(
        "y = RotaryEmbedding<num_heads=2>(p, c, s, at)",
        lambda x, p: joined(rotated(heads(p, 2), torch.tensor(TABLES["c"]), torch.tensor(TABLES["s"]))),
        TABLES,
    ),
    "GroupNormalization": Case(
        "t = Transpose<perm=[0,2,1]>(p) y = GroupNormalization<num_groups=2>(t, g, b)",
        lambda x, p: F.group_norm(p.mT, 2, torch.arange(8.0), torch.ones(8)),
        {"g": np.arange(8, dtype=np.float32), "b": np.ones(8, np.float32)},
    ),
    "Mish": Case("y = Mish(p)", lambda x, p: F.mish(p)),
    "Softsign": Case("y = Softsign(p)", lambda x, p: F.softsign(p)),
    "Celu": Case("y = Celu<alpha=0.5>(p)", lambda x, p: F.celu(p, 0.5)),
    "ReduceLogSumExp": Case(
        "y = ReduceLogSumExp(p, a)", lambda x, p: p.logsumexp(-1, keepdim=True), {"a": np.array([-1])}
    ),
    "a function of the model itself": Case("y = local.twice(p)", lambda x, p: 2 * p),
}

TWICE = '<domain: "local", opset_import: ["": 23]> twice (x) => (y) { y = Add(x, x) }'


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_agrees_with_autograd(case: Case) -> None:
    x, p = random_weight(2, 3, 8, seed=1), random_weight(2, 3, 8, seed=2)
    model = tiny_model(
        f"g (float[B,T,8] x) => (float loss) {{ {case.nodes} square = Mul(y, y) cube = Mul(square, y)"
        " both = Add(square, cube) loss = ReduceSum<keepdims=0>(both) }",
        opset=case.opset,
        functions=TWICE if "local" in case.nodes else "",
        p=p,
        **case.constants,
    )
    found = gradients(model, ["p"], {"x": x})["p"]
    parameter = torch.tensor(p, requires_grad=True)
    y = case.formula(torch.tensor(x), parameter)
    (y**2 + y**3).sum().backward()
    assert parameter.grad is not None
    assert relative_error(found, parameter.grad.numpy()) < 1e-5
