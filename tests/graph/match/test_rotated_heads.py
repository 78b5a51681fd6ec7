"""Rotated query and key: which pairs turn together, and that pairs which are cut out are as if their columns were zero."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.rotated_heads import RotatedQueryKey, find_rotated_query_keys
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.normal_heads import normalize_heads
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from tests.architectures import exported_models, padded_batch
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

HEADS, WIDTH, HIDDEN, TOKENS = 2, 8, 16, 5
FEEDS = {"x": random_weight(2, TOKENS, HIDDEN, seed=9)}
ANGLES = np.arange(TOKENS)[:, None] * np.array([1.0, 0.3, 0.1, 0.03])[None]

SIZES = {"zero": 0, "one": 1, "two": 2, "four": 4, "eight": 8, "last": -1}
HALVES = """{0}a = Slice({0}, zero, four, last) {0}b = Slice({0}, four, eight, last) {0}n = Neg({0}b)
    {0}t = Concat<axis = -1>({0}n, {0}a) """
NEIGHBOURS = """{0}a = Slice({0}, zero, eight, last, two) {0}b = Slice({0}, one, eight, last, two) {0}n = Neg({0}b)
    {0}c = Unsqueeze({0}n, last) {0}d = Unsqueeze({0}a, last) {0}e = Concat<axis = -1>({0}c, {0}d) {0}t = Reshape({0}e, heads) """
TURN = "{0}x = Mul({0}, cos) {0}y = Mul({0}t, sin) {0}r = Add({0}x, {0}y)"
PART = """{0}p = Slice({0}, four, eight, last) {0}f = Slice({0}, zero, four, last) {0}a = Slice({0}f, zero, two, last)
    {0}b = Slice({0}f, two, four, last) {0}n = Neg({0}b) {0}t = Concat<axis = -1>({0}n, {0}a)
    {0}x = Mul({0}f, cos) {0}y = Mul({0}t, sin) {0}z = Add({0}x, {0}y) {0}r = Concat<axis = -1>({0}z, {0}p)"""


def model(turn: str, **tables: Any) -> ir.Model:
    text = f"""
        g (float[B,S,{HIDDEN}] x) => (float[B,S,{HIDDEN}] y) {{
            rows = Shape<start = 1, end = 2>(x) cos = Slice(cosines, zero, rows, zero) sin = Slice(sines, zero, rows, zero)
            q0 = MatMul(x, Q) q1 = Add(q0, bias) k0 = MatMul(x, K) v0 = MatMul(x, V)
            q2 = Reshape(q1, split) q = Transpose<perm = [0, 2, 1, 3]>(q2)
            k2 = Reshape(k0, split) k = Transpose<perm = [0, 2, 1, 3]>(k2)
            v2 = Reshape(v0, split) v = Transpose<perm = [0, 2, 1, 3]>(v2)
            {turn.format("q")} {turn.format("k")}
            krt = Transpose<perm = [0, 1, 3, 2]>(kr)
            s0 = MatMul(qr, krt) s = Mul(s0, scale) p = Softmax(s) c0 = MatMul(p, v)
            c1 = Transpose<perm = [0, 2, 1, 3]>(c0) c = Reshape(c1, joined) y = MatMul(c, O)
        }}"""
    known: dict[str, Any] = {
        **{name: random_weight(HIDDEN, HIDDEN, seed=seed) for seed, name in enumerate("QKVO")},
        "bias": random_weight(HIDDEN, seed=7),
        "split": np.array([0, 0, HEADS, WIDTH]),
        "joined": np.array([0, 0, HIDDEN]),
        "heads": np.array([0, HEADS, -1, WIDTH]),
        "scale": np.float32(0.1),
        **{name: np.array([size]) for name, size in SIZES.items()},
        **tables,
    }
    words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return tiny_model(text, **{name: value for name, value in known.items() if name in words})


def tables(layout: np.ndarray) -> dict[str, np.ndarray]:
    """Return cosines and sines with the angle of each dimension of a head as ``layout`` says."""
    return {
        "cosines": np.cos(ANGLES[:, layout]).astype(np.float32),
        "sines": np.sin(ANGLES[:, layout]).astype(np.float32),
    }


ROTATIONS = {
    "halves": (HALVES + TURN, tables(np.arange(8) % 4), [[0, 4], [1, 5], [2, 6], [3, 7]]),
    "neighbours": (NEIGHBOURS + TURN, tables(np.arange(8) // 2), [[0, 1], [2, 3], [4, 5], [6, 7]]),
    "a part of the dimensions": (PART, tables(np.arange(4) % 2), [[0, 2], [1, 3], [4, 5], [6, 7]]),
}


def blocks(found: ir.Model) -> tuple[RotatedQueryKey, ...]:
    return find_rotated_query_keys(find_sites(found).sites)


def columns(block: RotatedQueryKey, kept: np.ndarray) -> np.ndarray:
    """Return the columns of ``kept`` pairs (heads, n), the first dimensions of all of a head before the second ones."""
    taken = np.concatenate([block.pairs[kept][..., 0], block.pairs[kept][..., 1]], axis=1)
    found: np.ndarray = (np.arange(len(kept))[:, None] * block.width + taken).ravel()
    return found


def kept_pairs(block: RotatedQueryKey) -> np.ndarray:
    """Return other pairs for each head, (groups, half of them)."""
    random = np.random.default_rng(0)
    return np.stack([random.permutation(len(block.pairs))[: len(block.pairs) // 2] for _ in range(block.groups)])


def cut(changed: ir.Model) -> None:
    """Take half of the pairs out of every head."""
    rewriter = Rewriter(changed)
    for block in blocks(changed):
        kept = kept_pairs(block)
        correction = block.scale_correction(block.width // 2)
        weights, biases = {}, {}
        for index, each in enumerate(block.before):
            taken = columns(block, np.repeat(kept, each.heads // block.groups, axis=0))
            factor = 1.0 if index else correction
            weights[each.site.name] = factor * each.site.weight.numpy()[:, taken]
            if each.bias is not None:
                biases[each.site.name] = factor * each.bias.tensor.numpy()[taken]
        rewriter.narrow(block, block.groups * block.width // 2, weights, biases)
        rewriter.turn(block, kept)


def mask(changed: ir.Model) -> None:
    """Put zeros in the place of the same columns."""
    for block in blocks(changed):
        for each in block.before:
            taken = columns(block, np.repeat(kept_pairs(block), each.heads // block.groups, axis=0))
            Rewriter(changed).replace(each.site, zeroed(each.site, each.site.weight.numpy(), taken))
            if each.bias is not None:
                entries = each.bias.tensor.numpy()
                Rewriter(changed).shift_bias(each.site, each.bias, zeroed(each.site, entries, taken) - entries)


def zeroed(site: MatMulSite, entries: np.ndarray, taken: np.ndarray) -> np.ndarray:
    masked = np.zeros_like(entries)
    masked[..., taken] = entries[..., taken]
    return masked


@pytest.mark.parametrize(("turn", "angles", "pairs"), ROTATIONS.values(), ids=ROTATIONS)
def test_pairs_are_cut_out_with_their_tables(turn: str, angles: dict[str, np.ndarray], pairs: list[list[int]]) -> None:
    changed, masked = model(turn, **angles), model(turn, **angles)
    [block] = blocks(changed)
    assert [site.weight.name for site in block.sites] == ["Q", "K"]
    assert block.pairs.tolist() == pairs
    cut(changed)
    mask(masked)
    assert [list(site.weight.shape) for site in find_sites(changed).sites][:2] == [[HIDDEN, HIDDEN // 2]] * 2
    np.testing.assert_allclose(run(changed, FEEDS)[0], run(masked, FEEDS)[0], rtol=1e-4, atol=1e-5)
    assert (
        operators(changed).count("Neg") == operators(model(turn, **angles)).count("Neg") - 1
    )  # query and key share tables
    assert blocks(changed) == ()


LEFT_ALONE = {
    "no rotation": "{0}r = Identity({0})",
    "a norm of each head": "{0}h = LpNormalization({0}) "
    + (HALVES + TURN).replace("{0}", "{0}h").replace("{0}hr", "{0}r"),
    "heads that are rotated apart": HALVES + TURN.replace("sin)", "apart)"),
    "three dimensions that are mixed": "{0}m = Slice({0}, one, eight, last) {0}o = Slice({0}, zero, one, last) "
    "{0}u = Concat<axis = -1>({0}m, {0}o) {0}x = Mul({0}, cos) {0}y = Mul({0}u, sin) {0}r = Add({0}x, {0}y)",
}


@pytest.mark.parametrize("turn", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_left_alone(turn: str) -> None:
    given = model(turn, **tables(np.arange(8) % 4), apart=random_weight(HEADS, 1, WIDTH))
    run(given, FEEDS)
    assert blocks(given) == ()


@pytest.mark.parametrize(
    ("kind", "found"), [(ir.DataType.FLOAT16, 1), (ir.DataType.BFLOAT16, 0)], ids=["float16", "bfloat16"]
)
def test_half_types(kind: ir.DataType, found: int) -> None:
    """bfloat16 cannot tell a rotation from what is none."""
    turn, angles, _ = ROTATIONS["halves"]
    given = model(turn, **angles)
    for value in given.graph.initializers.values():
        assert value.const_value is not None
        if value.dtype == ir.DataType.FLOAT:
            entries = value.const_value.numpy().astype(kind.numpy())
            value.const_value, value.type = ir.Tensor(entries, name=value.name), ir.TensorType(kind)
    given.graph.inputs[0].type = ir.TensorType(kind)
    assert len(blocks(given)) == found


@pytest.mark.parametrize("export", ["llama/optimum", "llama/dynamo", "modernbert/optimum", "phi/optimum"])
def test_exports_are_what_they_are_with_zeros(model_cache: Path, export: str) -> None:
    path = exported_models(model_cache) / f"{export}.onnx"
    feeds, changed, masked = padded_batch(path), load_model(path).ir, load_model(path).ir
    for each, change in ((changed, cut), (masked, mask)):
        normalize_heads(each)
        assert len(blocks(each)) == 2
        change(each)
    np.testing.assert_allclose(run(changed, feeds)[0], run(masked, feeds)[0], rtol=1e-4, atol=1e-4)
