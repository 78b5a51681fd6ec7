"""Which projections read the same value."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.shared_rows import find_projections, read_the_same
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.tiny_encoder import LAYERS, encoder_model

ATTENTION = """g (float[B,S,6] x, float[B,S,6] z) => (float[B,S,6] y) {{
    [query] q0 = MatMul({rows[0]}, Q)
    [key] k0 = MatMul({rows[1]}, K)
    [value] v0 = MatMul({rows[2]}, V)
    q2 = Reshape(q0, split)   q = Transpose<perm = [0, 2, 1, 3]>(q2)
    k2 = Reshape(k0, split)   k = Transpose<perm = [0, 2, 3, 1]>(k2)
    v2 = Reshape(v0, split)   v = Transpose<perm = [0, 2, 1, 3]>(v2)
    s = MatMul(q, k)
    p = Softmax<axis = -1>(s)
    c0 = MatMul(p, v)
    c1 = Transpose<perm = [0, 2, 1, 3]>(c0)
    c = Reshape(c1, joined)
    [output] y = MatMul(c, O)
}}"""


def sites(rows: str, **weights: Any) -> tuple[MatMulSite, ...]:
    """Return the sites of an attention whose query, key and value read these rows."""
    plain = {name: random_weight(6, 6, seed=seed) for seed, name in enumerate("QKVO")}
    shapes = {"split": np.array([0, 0, 2, 3]), "joined": np.array([0, 0, 6])}
    return find_sites(tiny_model(ATTENTION.format(rows=rows), **{**plain, **shapes, **weights})).sites


def names(groups: tuple[tuple[MatMulSite, ...], ...]) -> list[tuple[str, ...]]:
    return [tuple(site.name for site in group) for group in groups]


def test_every_two_or_three_of_an_encoder_read_the_same() -> None:
    found = names(find_projections(find_sites(ir.from_proto(encoder_model())).sites))
    assert found == [
        tuple(f"layer.{layer}/{role}" for role in roles)
        for layer in range(LAYERS)
        for roles in (("query", "key"), ("query", "value"), ("key", "value"), ("query", "key", "value"))
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [("xzz", [("key", "value")]), ("xxz", [("query", "key")])],
    ids=["an encoder's states", "values of their own"],
)
def test_what_reads_another_value_is_left_alone(rows: str, expected: list[tuple[str, ...]]) -> None:
    assert names(find_projections(sites(rows))) == expected


def test_weights_of_another_type_are_left_alone() -> None:
    query, key, value, _ = sites("xxx")
    half = tiny_model(
        "g (float16[B,6] x) => (float16[B,6] y) { y = MatMul(x, W) }", W=random_weight(6, 6).astype(np.float16)
    )
    assert read_the_same([query, key, value])
    assert not read_the_same([query, find_sites(half).sites[0]])


def test_tied_weights_and_lookups_are_left_alone() -> None:
    tied = tiny_model(
        "g (float[B,6] x) => (float[B,6] y) { a = MatMul(x, W) b = MatMul(a, W) c = MatMul(x, V) y = Add(b, c) }",
        W=random_weight(6, 6),
        V=random_weight(6, 6, seed=1),
    )
    assert not read_the_same(find_sites(tied).sites)
    lookups = tiny_model(
        "g (int64[B] x) => (float[B,6] y) { a = Gather(W, x) b = Gather(V, x) y = Add(a, b) }",
        W=random_weight(9, 6),
        V=random_weight(9, 6, seed=1),
    )
    assert not read_the_same(find_sites(lookups).sites)
