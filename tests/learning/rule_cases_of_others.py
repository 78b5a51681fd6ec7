"""Graphs of one operator for the rules, and the same in torch: what later encoders, image models and decoders have besides."""

from typing import Any

import numpy as np
import torch

from tests.learning.rule_cases import WIDE, Case, F, axes

IMAGE = (2, 4, 7)
"""Sequences, channels, pixels: what p becomes in the cases of images; x has 3 rows of 4 for channels."""


def rms(x: Any, axes: int = 1) -> Any:
    return x / (x.square().mean(dim=tuple(range(-axes, 0)), keepdim=True) + 1e-5).sqrt()


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


CASES_OF_OTHERS = {
    "Abs": Case("y = Abs(p)", lambda x, p: p.abs(), WIDE),
    "Sin": Case("y = Sin(p)", lambda x, p: p.sin()),
    "Cos": Case("y = Cos(p)", lambda x, p: p.cos()),
    "Mean": Case("y = Mean(x, p, p)", lambda x, p: (x + p + p) / 3),
    "Pow, the exponent": Case("a = Abs(x) y = Pow(a, p)", lambda x, p: x.abs() ** p),
    "CastLike": Case("d = Cast<to=11>(x) e = CastLike(p, d) y = Cast<to=1>(e)", lambda x, p: p),
    "MatMul, by a vector": Case("y = MatMul(x, p)", lambda x, p: x @ p),
    "MatMul, of rows by a vector": Case(
        "y = MatMul(p, v)", lambda x, p: p @ torch.arange(4.0), WIDE, {"v": np.arange(4, dtype="f")}
    ),
    "MatMul, of a vector": Case("y = MatMul(p, x)", lambda x, p: p @ x, (3,)),
    "MatMul, of a vector by matrices": Case(
        "y = MatMul(v, p)", lambda x, p: torch.arange(3.0) @ p, WIDE, {"v": np.arange(3, dtype="f")}
    ),
    "MatMul, of two vectors": Case(
        "y = MatMul(p, v)", lambda x, p: p @ torch.arange(4.0), constants={"v": np.arange(4, dtype="f")}
    ),
    **{
        f"FusedMatMul, transA={a} transB={b}, by {'AB'[side]}": Case(
            f"y = com.microsoft.FusedMatMul<transA={a},transB={b},alpha=0.5>({'p, x' if side == 0 else 'x, p'})",
            lambda x, p, a=a, b=b, side=side: (
                0.5  # type: ignore[misc]
                * ((p.mT if a else p) @ (x.mT if b else x) if side == 0 else (x.mT if a else x) @ (p.mT if b else p))
            ),
            {
                0: ((4, 5) if a else (5, 4)) if b else ((2, 3, 5) if a else (2, 5, 3)),
                1: ((1, 5, 3) if a else (5, 4)) if b else ((2, 3, 5) if a else (4, 5)),
            }[side],
        )
        for a in (0, 1)
        for b in (0, 1)
        for side in (0, 1)
    },
    "Gelu, approximated": Case(
        "y = Gelu<approximate='tanh'>(p)".replace("'", '"'), lambda x, p: F.gelu(p, approximate="tanh"), WIDE
    ),
    "FastGelu": Case("y = com.microsoft.FastGelu(x, p)", lambda x, p: F.gelu(x + p, approximate="tanh")),
    "BiasGelu": Case("y = com.microsoft.BiasGelu(x, p)", lambda x, p: F.gelu(x + p)),
    "QuickGelu": Case("y = com.microsoft.QuickGelu(p)", lambda x, p: p * torch.sigmoid(1.702 * p), WIDE),
    "Swish": Case("y = Swish<alpha=1.5>(p)", lambda x, p: p * torch.sigmoid(1.5 * p), WIDE, opset=24),
    "Elu": Case("y = Elu<alpha=0.7>(p)", lambda x, p: F.elu(p, 0.7), WIDE),
    "Selu": Case("y = Selu(p)", lambda x, p: F.selu(p), WIDE),
    "Softplus": Case("y = Softplus(p)", lambda x, p: F.softplus(p), WIDE),
    "LeakyRelu": Case("y = LeakyRelu<alpha=0.2>(p)", lambda x, p: F.leaky_relu(p, 0.2), WIDE),
    "PRelu, the input": Case("y = PRelu(p, s)", lambda x, p: F.leaky_relu(p, 0.5), WIDE, {"s": np.full(4, 0.5, "f")}),
    "PRelu, the slope": Case("y = PRelu(x, p)", lambda x, p: torch.where(x > 0, x, p * x)),
    "HardSigmoid": Case("y = HardSigmoid<alpha=0.3,beta=0.4>(p)", lambda x, p: (0.3 * p + 0.4).clamp(0, 1), WIDE),
    "HardSwish": Case(
        "q = Mul(p, three) y = HardSwish(q)", lambda x, p: F.hardswish(3 * p), WIDE, {"three": np.float32(3)}
    ),
    "Clip, between": Case(
        "y = Clip(p, a, b)", lambda x, p: p.clamp(-0.5, 0.7), WIDE, {"a": np.float32(-0.5), "b": np.float32(0.7)}
    ),
    "Clip, from above": Case("y = Clip(p, , b)", lambda x, p: p.clamp(max=0.3), WIDE, {"b": np.float32(0.3)}),
    "Max": Case("y = Max(x, p)", torch.maximum),
    "Max, of the same": Case("y = Max(p, p, x)", torch.maximum),
    "Min": Case("y = Min(p, x)", torch.minimum, (3, 1)),
    "ReduceMax, an axis kept": Case("y = ReduceMax(p, a)", lambda x, p: p.amax(1, keepdim=True), WIDE, {"a": axes(1)}),
    "ReduceMax, axes as attribute": Case(
        "y = ReduceMax<axes=[1],keepdims=0>(p)", lambda x, p: p.amax(1), WIDE, opset=17
    ),
    "ReduceMax, equally large": Case(
        "q = Concat<axis=1>(p, p) y = ReduceMax<keepdims=0>(q, a)", lambda x, p: p.amax(1), WIDE, {"a": axes(1)}
    ),
    "ReduceMin, axes gone": Case(
        "y = ReduceMin<keepdims=0>(p, a)", lambda x, p: p.amin((0, 2)), WIDE, {"a": axes(0, 2)}
    ),
    "ReduceL1": Case("y = ReduceL1<keepdims=0>(p, a)", lambda x, p: p.abs().sum(1), WIDE, {"a": axes(1)}),
    "ReduceL2": Case("y = ReduceL2(p, a)", lambda x, p: p.norm(dim=-1, keepdim=True), WIDE, {"a": axes(-1)}),
    "ReduceL2, of zeros": Case(
        "q = Mul(p, z) y = ReduceL2<keepdims=0>(q, a)",
        lambda x, p: p[:, 1:].norm(dim=2),
        WIDE,
        {"a": axes(2), "z": np.array([[0], [1], [1]], "f")},
    ),
    "ReduceProd": Case("y = ReduceProd<keepdims=0>(p, a)", lambda x, p: p.prod(1), WIDE, {"a": axes(1)}),
    "LpNormalization": Case("y = LpNormalization(p)", lambda x, p: F.normalize(p, dim=-1), WIDE),
    "LpNormalization, by absolute values": Case(
        "y = LpNormalization<p=1,axis=1>(p)", lambda x, p: F.normalize(p, p=1, dim=1), WIDE
    ),
    "TopK": Case("y, i = TopK<axis=1>(p, k)", lambda x, p: p.topk(2, dim=1)[0], WIDE, {"k": axes(2)}),
    "Gather, along the second axis": Case(
        "y = Gather<axis=1>(p, i)", lambda x, p: p[:, [2, 0, 2]], WIDE, {"i": axes(2, 0, -1)}
    ),
    "Gather, a table of places": Case(
        "y = Gather<axis=-1>(p, i)", lambda x, p: p[..., [[1, 1], [3, 0]]], WIDE, {"i": np.array([[1, 1], [3, 0]])}
    ),
    "GatherND": Case(
        "y = GatherND(p, i)", lambda x, p: p[[0, 1, 0], [2, 1, 2]], WIDE, {"i": np.array([[0, 2], [1, 1], [0, 2]])}
    ),
    "GatherND, of each of a batch": Case(
        "y = GatherND<batch_dims=1>(p, i)",
        lambda x, p: torch.stack([p[0, 2], p[1, 1]]),
        WIDE,
        {"i": np.array([[2], [1]])},
    ),
    "Compress": Case(
        "y = Compress<axis=1>(p, c)", lambda x, p: p[:, [0, 2]], WIDE, {"c": np.array([True, False, True])}
    ),
    "Slice, a piece": Case(
        "y = Slice(p, a, b, c)", lambda x, p: p[:, 1:, 1:3], WIDE, {"a": axes(-2, 1), "b": axes(99, 3), "c": axes(1, 2)}
    ),
    "Slice, of all axes": Case(
        "y = Slice(p, a, b)", lambda x, p: p[1:, :2, :3], WIDE, {"a": axes(1, -9, 0), "b": axes(2, 2, -1)}
    ),
    "ScatterND, replaced": Case(
        "y = ScatterND(p, i, u)",
        lambda x, p: torch.cat([p[:1], torch.ones(1, 3, 4)]),
        WIDE,
        {"i": np.array([[1]]), "u": np.ones((1, 3, 4), "f")},
    ),
    "ScatterND, the updates": Case(
        "y = ScatterND(d, i, p)",
        lambda x, p: torch.cat([torch.ones(1, 3, 4), p]),
        (1, 3, 4),
        {"i": np.array([[1]]), "d": np.ones(WIDE, "f")},
    ),
    "ScatterND, added": Case(
        'y = ScatterND<reduction="add">(p, i, p)', lambda x, p: p + p[[1, 0]], (2, 3), {"i": np.array([[1], [0]])}
    ),
    "ScatterElements, replaced": Case(
        "y = ScatterElements<axis=1>(p, i, u)",
        lambda x, p: torch.cat([p[:, :1], torch.zeros(2, 1), p[:, 2:]], 1),
        (2, 4),
        {"i": np.array([[1], [1]]), "u": np.zeros((2, 1), "f")},
    ),
    "ScatterElements, added": Case(
        'y = ScatterElements<axis=1,reduction="add">(d, i, p)',
        lambda x, p: torch.zeros(2, 4).scatter_add(1, torch.tensor([[1, 1], [3, 0]]), p),
        (2, 2),
        {"i": np.array([[1, 1], [3, 0]]), "d": np.zeros((2, 4), "f")},
    ),
    "Tile": Case("y = Tile(p, r)", lambda x, p: p.tile(2, 1, 3), WIDE, {"r": axes(2, 1, 3)}),
    "Pad": Case("y = Pad(p, w)", lambda x, p: F.pad(p, (1, 2, 0, 0, 0, 1)), WIDE, {"w": axes(0, 0, 1, 1, 0, 2)}),
    "Pad, of one axis, and less of it": Case(
        "y = Pad(p, w, , a)", lambda x, p: F.pad(p, (-1, 2)), WIDE, {"w": axes(-1, 2), "a": axes(2)}
    ),
    "Pad, reflected": Case(
        'y = Pad<mode="reflect">(p, w)', lambda x, p: F.pad(p, (2, 1), "reflect"), WIDE, {"w": axes(0, 0, 2, 0, 0, 1)}
    ),
    "CumSum": Case("y = CumSum(p, a)", lambda x, p: p.cumsum(1), WIDE, {"a": np.array(1)}),
    "CumSum, backwards, the entry left out": Case(
        "y = CumSum<reverse=1,exclusive=1>(p, a)",
        lambda x, p: p.flip(1).cumsum(1).flip(1) - p,
        WIDE,
        {"a": np.array(1)},
    ),
    "Trilu": Case("y = Trilu<upper=0>(p)", lambda x, p: p.tril(), WIDE),
    "Einsum, of one": Case('y = Einsum<equation="bij->jbi">(p)', lambda x, p: p.permute(2, 0, 1), WIDE),
    "Einsum, summed": Case('y = Einsum<equation="bij->i">(p)', lambda x, p: p.sum((0, 2)), WIDE),
    "Einsum, by a weight": Case('y = Einsum<equation="btd,de->bte">(x, p)', lambda x, p: x @ p, (4, 5)),
    "Einsum, of heads": Case(
        'y = Einsum<equation="bin,bjn->bnij">(p, x)', lambda x, p: torch.einsum("bin,bjn->bnij", p, x), (2, 5, 4)
    ),
    "Einsum, of three": Case(
        'y = Einsum<equation="bij,i,jk->bk">(x, p, w)',
        lambda x, p: torch.einsum("bij,i,jk->bk", x, p, torch.ones(4, 2)),
        (3,),
        {"w": np.ones((4, 2), "f")},
    ),
    "Einsum, a column that is summed alone": Case(
        'y = Einsum<equation="bij,ik->bj">(x, p)', lambda x, p: torch.einsum("bij,ik->bj", x, p), (3, 2)
    ),
    "Einsum, dots": Case('y = Einsum<equation="...ij,...jk">(p, x)', lambda x, p: p @ x, (1, 6, 3)),
    "Einsum, dots on one side": Case('y = Einsum<equation="...j, jk -> ...k">(x, p)', lambda x, p: x @ p, (4, 5)),
    **{
        f"Conv, {by}, {groups} groups": Case(
            f"y = Conv<group={groups},strides=[2],dilations=[2],pads=[3,1]>({operands})",
            lambda x, p, groups=groups, by=by: F.conv1d(  # type: ignore[misc]
                F.pad(p if by == "the image" else torch.tensor(numbers(*IMAGE)), (3, 1)),
                torch.tensor(numbers(6, 4 // groups, 3)) if by == "the image" else p,
                stride=2,
                dilation=2,
                groups=groups,
            ),
            IMAGE if by == "the image" else (6, 4 // groups, 3),
            {"w": numbers(6, 4 // groups, 3)} if by == "the image" else {"i": numbers(*IMAGE)},
        )
        for groups in (1, 2)
        for by, operands in {"the image": "p, w", "the weight": "i, p"}.items()
    },
    "Conv, the bias": Case(
        "y = Conv(i, w, p)",
        lambda x, p: F.conv1d(torch.tensor(numbers(*IMAGE)), torch.tensor(numbers(6, 4, 3)), p),
        (6,),
        {"w": numbers(6, 4, 3), "i": numbers(*IMAGE)},
    ),
    "Conv, patches": Case(
        "y = Conv<strides=[2,3]>(i, p)",
        lambda x, p: F.conv2d(torch.tensor(numbers(2, 3, 5, 7)), p, stride=(2, 3)),
        (4, 3, 2, 3),
        {"i": numbers(2, 3, 5, 7)},
    ),
    "AveragePool": Case(
        "y = AveragePool<kernel_shape=[3],strides=[2],pads=[1,1]>(p)",
        lambda x, p: F.avg_pool1d(p, 3, 2, 1, count_include_pad=False),
        IMAGE,
    ),
    "AveragePool, the padding counted": Case(
        "y = AveragePool<kernel_shape=[2,3],pads=[0,1,0,1],count_include_pad=1>(p)",
        lambda x, p: F.avg_pool2d(p, (2, 3), 1, (0, 1)),
        (2, 3, 4, 5),
    ),
    "GlobalAveragePool": Case("y = GlobalAveragePool(p)", lambda x, p: p.mean(2, keepdim=True), IMAGE),
    "MaxPool": Case("y = MaxPool<kernel_shape=[3],strides=[2]>(p)", lambda x, p: F.max_pool1d(p, 3, 2), IMAGE),
    "LayerNormalization, of two axes": Case(
        "y = LayerNormalization<axis=1>(p, g)",
        lambda x, p: F.layer_norm(p, (3, 4), torch.arange(12.0).reshape(3, 4)),
        WIDE,
        {"g": np.arange(12, dtype="f").reshape(3, 4)},
    ),
    "RMSNormalization, the rows": Case(
        "y = RMSNormalization(p, g)",
        lambda x, p: rms(p) * torch.arange(4.0),
        WIDE,
        {"g": np.arange(4, dtype="f")},
        opset=23,
    ),
    "RMSNormalization, the scale": Case("y = RMSNormalization(x, p)", lambda x, p: rms(x) * p, opset=23),
    "SimplifiedLayerNormalization": Case(
        "y = SimplifiedLayerNormalization<axis=1>(p, g)", lambda x, p: rms(p, 2), WIDE, {"g": np.ones((3, 4), "f")}
    ),
    **{
        f"InstanceNormalization, {by}": Case(
            f"y = InstanceNormalization({operands})",
            formula,
            shape,
            {"i": numbers(*IMAGE), "g": np.arange(4, dtype="f"), "b": np.ones(4, "f")},
        )
        for by, operands, shape, formula in (
            (
                "the image",
                "p, g, b",
                IMAGE,
                lambda x, p: F.instance_norm(p, weight=torch.arange(4.0), bias=torch.ones(4)),
            ),
            (
                "the scale",
                "i, p, b",
                (4,),
                lambda x, p: F.instance_norm(torch.tensor(numbers(*IMAGE)), weight=p, bias=torch.ones(4)),
            ),
            (
                "the bias",
                "i, g, p",
                (4,),
                lambda x, p: F.instance_norm(torch.tensor(numbers(*IMAGE)), weight=torch.arange(4.0), bias=p),
            ),
        )
    },
    **{
        f"BatchNormalization, {by}": Case(
            f"y = BatchNormalization({operands}, m, v)",
            formula,
            shape,
            {
                "i": numbers(*IMAGE),
                "g": np.arange(4, dtype="f"),
                "b": np.ones(4, "f"),
                "m": np.ones(4, "f"),
                "v": np.full(4, 2, "f"),
            },
        )
        for by, operands, shape, formula in (
            (
                "the image",
                "p, g, b",
                IMAGE,
                lambda x, p: F.batch_norm(p, torch.ones(4), torch.full((4,), 2.0), torch.arange(4.0), torch.ones(4)),
            ),
            (
                "the scale",
                "i, p, b",
                (4,),
                lambda x, p: F.batch_norm(
                    torch.tensor(numbers(*IMAGE)), torch.ones(4), torch.full((4,), 2.0), p, torch.ones(4)
                ),
            ),
            (
                "the bias",
                "i, g, p",
                (4,),
                lambda x, p: F.batch_norm(
                    torch.tensor(numbers(*IMAGE)), torch.ones(4), torch.full((4,), 2.0), torch.arange(4.0), p
                ),
            ),
        )
    },
}
