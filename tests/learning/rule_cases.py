"""Graphs of one operator for the rules, and the same in torch: the operators of BERT's generation."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

F = torch.nn.functional


@dataclass(frozen=True)
class Case:
    """Nodes that make y of the input x (2, 3, 4) and the parameter p; the same in torch; the shape of p.

    above: p is moved by so much, for functions of positive numbers.
    """

    nodes: str
    formula: Callable[[Any, Any], Any]
    shape: tuple[int, ...] = (4,)
    constants: dict[str, Any] = field(default_factory=dict)
    above: float = 0.0
    opset: int = 21


def axes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


WIDE = (2, 3, 4)
BERT_CASES = {
    "Add, broadcast over leading axes": Case("y = Add(p, x)", lambda x, p: p + x),
    "Add, broadcast over an axis of one": Case("y = Add(x, p)", lambda x, p: x + p, (3, 1)),
    "Add, broadcast over both kinds": Case("y = Add(x, p)", lambda x, p: x + p, (1, 4)),
    "Add, a scalar": Case("y = Add(x, p)", lambda x, p: x + p, ()),
    "Add, the same value twice": Case("y = Add(p, p)", lambda x, p: p + p),
    "Sum": Case("y = Sum(x, p, p)", lambda x, p: x + p + p),
    "Sub, left": Case("y = Sub(p, x)", lambda x, p: p - x),
    "Sub, right": Case("y = Sub(x, p)", lambda x, p: x - p),
    "Mul": Case("y = Mul(x, p)", lambda x, p: x * p),
    "Mul, a square": Case("y = Mul(p, p)", lambda x, p: p * p),
    "Div, left": Case("y = Div(p, x)", lambda x, p: p / x),
    "Div, right": Case("y = Div(x, p)", lambda x, p: x / p, above=3),
    "Pow": Case("y = Pow(p, three)", lambda x, p: p**3, WIDE, {"three": np.float32(3)}),
    "Pow, an integer exponent": Case("y = Pow(p, two)", lambda x, p: p**2, WIDE, {"two": np.int64(2)}),
    "Where": Case(
        "c = Greater(x, zero) q = Mul(p, p) y = Where(c, p, q)",
        lambda x, p: torch.where(x > 0, p, p * p),
        constants={"zero": np.float32(0)},
    ),
    "what jumps has no slope": Case(
        "c = Greater(p, zero) f = Cast<to=1>(c) i = Cast<to=7>(p) g = Cast<to=1>(i) h = Mul(p, f) y = Add(h, g)",
        lambda x, p: p * (p > 0) + p.detach().trunc(),
        WIDE,
        {"zero": np.float32(0)},
    ),
    "MatMul, by a weight": Case("y = MatMul(x, p)", lambda x, p: x @ p, (4, 5)),
    "MatMul, of a parameter": Case("t = Transpose<perm=[0,2,1]>(x) y = MatMul(p, t)", lambda x, p: p @ x.mT, (3, 4)),
    "MatMul, rows by a weight": Case(
        "y = MatMul(p, w)", lambda x, p: p @ torch.ones(4, 2), WIDE, {"w": np.ones((4, 2), "f")}
    ),
    "MatMul, of batches": Case(
        "q = Mul(x, p) t = Transpose<perm=[0,2,1]>(q) y = MatMul(q, t)", lambda x, p: (x * p) @ (x * p).mT
    ),
    "MatMul, broadcast batches": Case("y = MatMul(x, p)", lambda x, p: x @ p, (1, 4, 5)),
    "MatMul, more batches on the left": Case("y = MatMul(p, x)", lambda x, p: p @ x, (5, 2, 1, 3)),
    **{
        f"Gemm, transA={a} transB={b}, by {'AB'[side]}": Case(
            f"r = Reshape(x, flat) y = Gemm<transA={a},transB={b},alpha=0.5,beta=2.0>"
            f"({'p, r' if side == 0 else 'r, p'}, c)",
            lambda x, p, a=a, b=b, side=side: (
                (  # type: ignore[misc]
                    0.5 * ((p.T if a else p) @ (x.reshape(6, 4).T if b else x.reshape(6, 4)))
                    if side == 0
                    else 0.5 * ((x.reshape(6, 4).T if a else x.reshape(6, 4)) @ (p.T if b else p))
                )
                + 2
            ),
            # The inner size is what x has there.
            {
                0: ((4, 3) if a else (3, 4)) if b else ((6, 3) if a else (3, 6)),
                1: ((3, 6) if b else (6, 3)) if a else ((3, 4) if b else (4, 3)),
            }[side],
            {"flat": axes(6, 4), "c": np.ones(1, np.float32)},
        )
        for a in (0, 1)
        for b in (0, 1)
        for side in (0, 1)
    },
    "Gemm, the bias": Case(
        "r = Reshape(x, flat) y = Gemm<beta=2.0>(r, w, p)",
        lambda x, p: x.reshape(6, 4) @ torch.ones(4, 2) + 2 * p,
        (2,),
        {"flat": axes(6, 4), "w": np.ones((4, 2), np.float32)},
    ),
    "Neg": Case("y = Neg(p)", lambda x, p: -p),
    "Sqrt": Case("y = Sqrt(p)", lambda x, p: p.sqrt(), above=4),
    "Reciprocal": Case("y = Reciprocal(p)", lambda x, p: 1 / p, above=4),
    "Exp": Case("y = Exp(p)", lambda x, p: p.exp()),
    "Log": Case("y = Log(p)", lambda x, p: p.log(), above=4),
    "Tanh": Case("y = Tanh(p)", lambda x, p: p.tanh()),
    "Sigmoid": Case("y = Sigmoid(p)", lambda x, p: p.sigmoid()),
    "Relu": Case("y = Relu(p)", lambda x, p: p.relu(), WIDE),
    "Erf": Case("y = Erf(p)", lambda x, p: p.erf()),
    "Gelu": Case("y = Gelu(p)", lambda x, p: F.gelu(p), WIDE),
    "Identity and Dropout": Case("i = Identity(p) y = Dropout(i)", lambda x, p: p),
    "Cast": Case("d = Cast<to=11>(p) e = Mul(d, d) y = Cast<to=1>(e)", lambda x, p: p * p),
    "Reshape": Case("y = Reshape(p, s)", lambda x, p: p.reshape(6, 4), WIDE, {"s": axes(-1, 4)}),
    "Flatten": Case("y = Flatten<axis=2>(p)", lambda x, p: p.reshape(6, 4), WIDE),
    "Squeeze and Unsqueeze": Case("u = Unsqueeze(p, at) y = Squeeze(u, at)", lambda x, p: p, WIDE, {"at": axes(1)}),
    "Transpose": Case("t = Transpose<perm=[1,2,0]>(p) y = Mul(t, t)", lambda x, p: p.permute(1, 2, 0) ** 2, WIDE),
    "Transpose, reversed": Case("t = Transpose(p) y = Mul(t, t)", lambda x, p: p.permute(2, 1, 0) ** 2, WIDE),
    "Expand": Case("y = Expand(p, s)", lambda x, p: p.expand(2, 3, 4), (3, 1), {"s": axes(2, 3, 4)}),
    "Concat": Case("q = Mul(p, p) y = Concat<axis=1>(p, x, q)", lambda x, p: torch.cat([p, x, p * p], 1), (2, 5, 4)),
    "Split, one part unused": Case(
        "a, b, c = Split<axis=-1>(p, s) y = Mul(a, c)",
        lambda x, p: p[..., :1] * p[..., 3:],
        WIDE,
        {"s": axes(1, 2, 1)},
    ),
    "Slice, backwards and with steps": Case(
        "y = Slice(p, a, b, c, d)",
        lambda x, p: p[..., 1:4:2].flip(1),
        WIDE,
        {"a": axes(-1, 1), "b": axes(-9, 4), "c": axes(1, 2), "d": axes(-1, 2)},
    ),
    "Gather, a number": Case("y = Gather<axis=1>(p, i)", lambda x, p: p[:, 0], WIDE, {"i": np.int64(0)}),
    "Gather, the same row twice": Case("y = Gather(p, i)", lambda x, p: p[[1, 1, 0]], (3, 4), {"i": axes(1, 1, -3)}),
    "GatherElements": Case(
        "y = GatherElements<axis=1>(p, i)",
        lambda x, p: torch.gather(p, 1, torch.tensor([[0, 0], [1, 3]])),
        (2, 4),
        {"i": np.array([[0, 0], [1, 3]])},
    ),
    "ReduceSum, an axis gone": Case("y = ReduceSum<keepdims=0>(p, a)", lambda x, p: p.sum(1), WIDE, {"a": axes(1)}),
    "ReduceSum, everything": Case("y = ReduceSum<keepdims=0>(p)", lambda x, p: p.sum(), WIDE),
    "ReduceMean, an axis kept": Case(
        "y = ReduceMean(p, a)", lambda x, p: p.mean(2, keepdim=True), WIDE, {"a": axes(-1)}
    ),
    "ReduceMean, axes as attribute": Case(
        "y = ReduceMean<axes=[-2],keepdims=0>(p)", lambda x, p: p.mean(1), WIDE, opset=17
    ),
    "ReduceSumSquare, an axis gone": Case(
        "y = ReduceSumSquare<keepdims=0>(p, a)", lambda x, p: p.square().sum(1), WIDE, {"a": axes(1)}
    ),
    "Softmax": Case("y = Softmax<axis=1>(p)", lambda x, p: p.softmax(1), WIDE),
    "LogSoftmax": Case("y = LogSoftmax(p)", lambda x, p: p.log_softmax(-1), WIDE),
    "LayerNormalization, the rows": Case(
        "y = LayerNormalization(p, g)",
        lambda x, p: F.layer_norm(p, (4,), torch.arange(4.0)),
        WIDE,
        {"g": np.arange(4, dtype=np.float32)},
    ),
    "LayerNormalization, the scale": Case(
        "y = LayerNormalization<axis=2>(x, p, b)",
        lambda x, p: F.layer_norm(x, (4,), p, torch.ones(4)),
        constants={"b": np.ones(4, np.float32)},
    ),
    "LayerNormalization, the bias": Case(
        "y = LayerNormalization(x, g, p)",
        lambda x, p: F.layer_norm(x, (4,), torch.arange(4.0), p),
        constants={"g": np.arange(4, dtype=np.float32)},
    ),
    "Gelu as exporters write it": Case(
        "d = Div(p, root) e = Erf(d) s = Add(e, one) m = Mul(p, s) y = Mul(m, half)",
        lambda x, p: F.gelu(p),
        WIDE,
        {"root": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
}
