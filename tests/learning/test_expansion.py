"""Operators that ONNX defines by others, against torch's autograd."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from squeeze_onnx.graph.fused.fusion import fuse
from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.learning.differentiation import gradients, relative_error
from tests.tiny_encoder import batch, encoder_model

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
WEIGHT = random_weight(8, 24, seed=5)
LEFT = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
SHOWN = torch.tensor(LEFT.astype(bool))[:, None, None]


def attention(rows: Any, weight: Any, bias: Any, count: int, **options: Any) -> Any:
    q, k, v = (heads(each, count) for each in (rows @ weight + bias).chunk(3, -1))
    return joined(F.scaled_dot_product_attention(q, k, v, **options))


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
    "fused: SkipLayerNormalization": Case(
        "n, m, d, s = com.microsoft.SkipLayerNormalization<epsilon=0.00001>(x, p, g, b, g) y = Add(n, s)",
        lambda x, p: (
            F.layer_norm(x + p + torch.arange(8.0), (8,), torch.arange(8.0), torch.ones(8)) + x + p + torch.arange(8.0)
        ),
        {"g": np.arange(8, dtype=np.float32), "b": np.ones(8, np.float32)},
    ),
    "fused: SkipSimplifiedLayerNormalization": Case(
        "y = com.microsoft.SkipSimplifiedLayerNormalization<epsilon=0.00001>(x, p, g)",
        lambda x, p: F.rms_norm(x + p, (8,), torch.arange(8.0), 1e-5),
        {"g": np.arange(8, dtype=np.float32)},
    ),
    "fused: Attention, masked": Case(
        "y = com.microsoft.Attention<num_heads=2>(p, W, b, m)",
        lambda x, p: attention(p, torch.tensor(WEIGHT), torch.ones(24), 2, attn_mask=SHOWN),
        {"W": WEIGHT, "b": np.ones(24, np.float32), "m": LEFT},
    ),
    "fused: Attention, lengths, its weight": Case(
        "t = Transpose<perm=[0,2,1]>(p) f = Reshape(t, to) W = MatMul(f, q) y = com.microsoft.Attention<num_heads=4>(x, W, b, m)",
        lambda x, p: attention(x, p.mT.reshape(8, 6) @ torch.tensor(WEIGHT)[:6], torch.ones(24), 4, attn_mask=SHOWN),
        {"q": WEIGHT[:6], "to": np.array([8, 6]), "b": np.ones(24, np.float32), "m": np.array([2, 3], np.int32)},
        opset=17,
    ),
    "fused: Attention, of a decoder": Case(
        "y = com.microsoft.Attention<num_heads=2,unidirectional=1,scale=0.25>(p, W, b)",
        lambda x, p: attention(p, torch.tensor(WEIGHT), torch.ones(24), 2, is_causal=True, scale=0.25),
        {"W": WEIGHT, "b": np.ones(24, np.float32)},
    ),
    "fused: MultiHeadAttention": Case(
        "y = com.microsoft.MultiHeadAttention<num_heads=2>(p, x, p, b, m, r)",
        lambda x, p: joined(
            F.scaled_dot_product_attention(
                *(heads(each + 1, 2) for each in (p, x, p)),
                attn_mask=torch.where(SHOWN, 0, -1e4) + torch.tensor(random_weight(1, 2, 3, 3, seed=6)),
            )
        ),
        {"b": np.ones(24, np.float32), "m": LEFT, "r": random_weight(1, 2, 3, 3, seed=6)},
    ),
    "fused: FusedGemm": Case(
        'f = Reshape(p, to) h = com.microsoft.FusedGemm<activation="Tanh",transB=1,alpha=0.5>(f, W) y = Identity(h)',
        lambda x, p: torch.tanh(0.5 * p.reshape(6, 8) @ torch.tensor(WEIGHT).reshape(24, 8).T),
        {"W": WEIGHT.reshape(24, 8), "to": np.array([6, 8])},
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


def test_a_fused_encoder_has_the_gradients_of_the_one_that_it_was_fused_from() -> None:
    plain = ir.from_proto(encoder_model())
    (states,) = plain.graph.outputs
    powers = ir.node("Exp", [states], name="powers")  # sums of normalized states, and of their squares, are flat
    powers.outputs[0].name, powers.outputs[0].type = "powers", ir.TensorType(ir.DataType.FLOAT)
    summed = ir.node("ReduceSum", powers.outputs, {"keepdims": 0}, name="summed")
    summed.outputs[0].name, summed.outputs[0].type = "loss", ir.TensorType(ir.DataType.FLOAT)
    plain.graph.extend([powers, summed])
    plain.graph.outputs[:] = summed.outputs
    fused = plain.clone()
    fuse(fused, "cpu")
    assert "Attention" in {node.op_type for node in fused.graph}
    names = ["layer.0/ffn_in.weight", "layer.1/attention_output.weight"]
    expected, found = (gradients(model, names, batch()) for model in (plain, fused))
    for name in names:
        assert relative_error(found[name], expected[name]) < 1e-4
