"""Which attention heads can be made thinner, and that at full width nothing changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.fused.fusion import fuse
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.attention_heads import (
    HeadBlock,
    QueryKey,
    ValueOutput,
    find_query_keys,
    find_value_outputs,
)
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from tests.architectures import exported_models, padded_batch
from tests.graph.execution import LEVELS, run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

HEADS, WIDTH, HIDDEN, THIN = 2, 4, 8, 3
FEEDS = {
    "x": random_weight(2, 5, HIDDEN, seed=9),
    "mask": np.where(np.arange(5) < np.array([[5], [3]]), 0, -1e4).astype(np.float32)[:, None, None, :],
}
SCORES = "s = MatMul(q, k) w = Mul(s, scale)"
# As optimum exports BERT: both sides times the fourth root of 1 / width, which is read off a shape.
COMPUTED_SCALE = """
    shape = Shape(q)  last = Slice(shape, minus_one, far)  width = Cast<to = 1>(last)  root = Sqrt(width)
    inverse = Div(one, root)  fourth = Sqrt(inverse)  qs = Mul(q, fourth)  ks = Mul(k, fourth)
    w = MatMul(qs, ks)"""
JOINED_SPLIT = "batch = Shape<start = 0, end = 1>(x) split = Concat<axis = 0>(batch, minus_one, heads, size)"


def model(*, before: str = "", scores: str = SCORES, after: str = "y = Add(o, bias)", **constants: Any) -> ir.Model:
    graph = f"""
        g (float[B,S,{HIDDEN}] x, float[B,1,1,S] mask) => (float[B,S,{HIDDEN}] y) {{
            {before}
            q0 = MatMul(x, Q)  q1 = Add(q0, bias)
            k0 = MatMul(x, K)  k1 = Add(k0, bias)
            v0 = MatMul(x, V)  v1 = Add(bias, v0)
            q2 = Reshape(q1, split)  q = Transpose<perm = [0, 2, 1, 3]>(q2)
            k2 = Reshape(k1, split)  k = Transpose<perm = [0, 2, 3, 1]>(k2)
            v2 = Reshape(v1, split)  v = Transpose<perm = [0, 2, 1, 3]>(v2)
            {scores}
            l = Add(w, mask)
            p = Softmax<axis = -1>(l)
            c0 = MatMul(p, v)
            c1 = Transpose<perm = [0, 2, 1, 3]>(c0)
            c = Reshape(c1, joined)
            o = MatMul(c, O)
            {after}
        }}"""
    known: dict[str, Any] = {
        **{name: random_weight(HIDDEN, HIDDEN, seed=seed) for seed, name in enumerate("QKVO")},
        "split": np.array([0, 0, HEADS, WIDTH]),
        "joined": np.array([0, 0, HIDDEN]),
        "bias": random_weight(HIDDEN, seed=8),
        "scale": np.float32(WIDTH**-0.5),
        "minus_one": np.array([-1]),
        "far": np.array([9]),
        "one": np.float32(1),
        "heads": np.array([HEADS]),
        "size": np.array([WIDTH]),
        **constants,
    }
    if "split =" in before:
        del known["split"]
    return tiny_model(graph, **known)


def blocks(found: ir.Model) -> tuple[HeadBlock, ...]:
    sites = find_sites(found).sites
    return (*find_query_keys(sites), *find_value_outputs(sites))


def invertible(heads: int, width: int) -> np.ndarray:
    """Return a change of basis for each head, (heads, width, width)."""
    return np.eye(width) + 0.3 * np.random.default_rng(1).standard_normal((heads, width, width))


def in_new_bases(block: HeadBlock, width: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return weights and biases in other bases of the heads, cut to ``width``; at full width they do the same."""
    forth = invertible(block.groups, block.width)[..., :width]
    back = np.linalg.inv(invertible(block.groups, block.width)).swapaxes(-1, -2)[..., :width]
    weights, biases = {}, {}

    def change(array: np.ndarray, basis: np.ndarray) -> np.ndarray:
        split = array.astype(np.float64).reshape(*array.shape[:-1], len(basis), -1)
        changed: np.ndarray = np.einsum("...hd,hdr->...hr", split, basis)
        return changed.reshape(*array.shape[:-1], -1)

    if isinstance(block, QueryKey):
        shared = np.repeat(forth, block.heads // block.groups, axis=0)
        bases = [block.scale_correction(width) * shared, back]
    else:
        assert isinstance(block, ValueOutput)
        bases = [forth]
        [output] = block.after
        weights[output.name] = change(output.weight.numpy().T, back[list(block.group_of)]).T
    for projected, basis in zip(block.before, bases, strict=True):
        weights[projected.site.name] = change(projected.site.weight.numpy(), basis)
        if projected.bias is not None:
            biases[projected.site.name] = change(projected.bias.tensor.numpy(), basis)
    return weights, biases


def narrow(changed: ir.Model, width: int) -> None:
    for block in blocks(changed):
        weights, biases = in_new_bases(block, width)
        Rewriter(changed).narrow(block, block.groups * width, weights, biases)


GRAPHS: dict[str, Mapping[str, Any]] = {
    "a constant scale": {},
    "a scale computed from the width": {"scores": COMPUTED_SCALE},
    "a shape that is joined of pieces": {"before": JOINED_SPLIT},
    "a width that is inferred": {"split": np.array([0, 0, HEADS, -1])},
    "heads that are inferred": {"split": np.array([0, 0, -1, WIDTH])},
    "a joined size that is inferred": {"joined": np.array([0, 0, -1])},
}


@pytest.mark.parametrize("spelled", GRAPHS.values(), ids=GRAPHS)
class TestThinner:
    def test_query_with_key_and_value_with_output_are_found(self, spelled: Mapping[str, Any]) -> None:
        scores, contexts = blocks(model(**spelled))
        assert [site.weight.name for site in scores.sites] == ["Q", "K"]
        assert [site.weight.name for site in contexts.sites] == ["V", "O"]
        assert scores.heads == contexts.heads == HEADS
        assert scores.columns == contexts.columns == HIDDEN

    def test_the_same_at_full_width(self, spelled: Mapping[str, Any]) -> None:
        changed = model(**spelled)
        narrow(changed, WIDTH)
        np.testing.assert_allclose(run(changed, FEEDS)[0], run(model(**spelled), FEEDS)[0], rtol=1e-5, atol=1e-5)

    def test_less_at_a_smaller_width(self, spelled: Mapping[str, Any]) -> None:
        changed = model(**spelled)
        narrow(changed, THIN)
        weights = [list(site.weight.shape) for site in find_sites(changed).sites]
        assert weights == [[HIDDEN, HEADS * THIN]] * 3 + [[HEADS * THIN, HIDDEN]]
        assert run(changed, FEEDS)[0].shape == FEEDS["x"].shape
        assert [block.columns for block in blocks(changed)] == [HEADS * THIN] * 2

    def test_fuses_as_before(self, spelled: Mapping[str, Any]) -> None:
        changed = model(**spelled)
        query_key = blocks(changed)[0]
        Rewriter(changed).narrow(query_key, HEADS * THIN, *in_new_bases(query_key, THIN))  # value stays wider
        fused = changed.clone()
        fuse(fused, "cpu")
        assert "Attention" in operators(fused)
        np.testing.assert_allclose(run(fused, FEEDS)[0], run(changed, FEEDS)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scores", [SCORES, COMPUTED_SCALE], ids=["constant", "computed"])
def test_scores_stay_scaled_as_they_were(scores: str) -> None:
    """Query and key whose last dimension is zero lose nothing with it."""
    idle = np.tile([1, 1, 1, 0], HEADS).astype(np.float32)
    constants: dict[str, Any] = {
        "Q": random_weight(HIDDEN, HIDDEN) * idle,
        "bias": random_weight(HIDDEN, seed=8) * idle,
    }
    changed = model(scores=scores, **constants)
    [block] = find_query_keys(find_sites(changed).sites)
    kept = idle > 0
    weights = {each.site.name: each.site.weight.numpy()[:, kept] for each in block.before}
    biases = {each.site.name: each.bias.tensor.numpy()[kept] for each in block.before if each.bias is not None}
    weights[block.sites[0].name] = weights[block.sites[0].name] * block.scale_correction(THIN)
    biases[block.sites[0].name] = biases[block.sites[0].name] * block.scale_correction(THIN)
    Rewriter(changed).narrow(block, HEADS * THIN, weights, biases)
    expected = run(model(scores=scores, **constants), FEEDS)[0]
    np.testing.assert_allclose(run(changed, FEEDS)[0], expected, rtol=1e-5, atol=1e-5)


def test_constants_that_others_read_stay_for_them() -> None:
    changed = model(before=JOINED_SPLIT)
    [block] = find_query_keys(find_sites(changed).sites)
    Rewriter(changed).narrow(block, HEADS * THIN, *in_new_bases(block, THIN))
    assert changed.graph.initializers["size"].const_value.numpy().tolist() == [WIDTH]  # type: ignore[union-attr]
    assert changed.graph.initializers["bias"].const_value.shape == [HIDDEN]  # type: ignore[union-attr]
    [other] = find_value_outputs(find_sites(changed).sites)
    assert other.columns == HIDDEN
    Rewriter(changed).narrow(other, HEADS * THIN, *in_new_bases(other, THIN))
    assert "size" not in changed.graph.initializers


LEFT_ALONE: dict[str, tuple[Mapping[str, Any], list[str]]] = {
    "positions rotated into query and key": (
        {
            "scores": "qa = Mul(q, cos) qb = Neg(q) qc = Mul(qb, sin) qd = Add(qa, qc) s = MatMul(qd, k) w = Mul(s, scale)"
        },
        ["V", "O"],
    ),
    "no softmax over scores alone": (
        {"scores": "s = MatMul(q, k) t = Mul(s, scale) w = Tanh(t)"},
        ["Q", "K", "V", "O"],
    ),
    "scores of each width scaled apart": (
        {"scores": "qa = Mul(q, by_dimension) s = MatMul(qa, k) w = Mul(s, scale)"},
        ["V", "O"],
    ),
    "a shape that is computed": (
        {"before": "split = Add(half_split, half_split)", "half_split": np.array([0, 0, HEADS // 2, WIDTH // 2])},
        [],
    ),
    "a query that is read elsewhere": ({"after": "z = Add(o, q1) y = Add(z, bias)"}, ["V", "O"]),
    "a weight that is used twice": ({"after": "z = MatMul(o, Q) y = Add(z, bias)"}, ["V", "O"]),
    "a context that is read elsewhere": ({"after": "z = Add(o, c) y = Add(z, bias)"}, ["Q", "K"]),
}


@pytest.mark.parametrize(("spelled", "found"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_left_alone(spelled: Mapping[str, Any], found: list[str]) -> None:
    words = {
        "cos": random_weight(5, WIDTH),
        "sin": random_weight(5, WIDTH, seed=1),
        "by_dimension": random_weight(WIDTH, seed=2),
    }
    text = str(spelled)
    spoken: dict[str, Any] = {name: value for name, value in words.items() if name in text}
    given = model(**spelled, **spoken)
    assert [site.weight.name for block in blocks(given) for site in block.sites] == found


def test_what_the_model_returns_stays() -> None:
    given = model()
    query = next(value for node in given.graph for value in node.outputs if value.name == "k2")
    given.graph.outputs.append(query)
    assert [type(block) for block in blocks(given)] == [ValueOutput]


@pytest.mark.parametrize(
    ("attributes", "found"),
    [("", ["Q", "K", "V", "O"]), ("<scale = 0.3>", ["Q", "K", "V", "O"]), ("<softcap = 2.0>", ["V", "O"])],
    ids=["a scale by the width", "a scale of its own", "capped scores"],
)
def test_one_operator_is_the_attention(attributes: str, found: list[str]) -> None:
    def given() -> ir.Model:
        weights: dict[str, Any] = {name: random_weight(HIDDEN, HIDDEN, seed=seed) for seed, name in enumerate("QKVO")}
        graph = f"""
            g (float[B,S,{HIDDEN}] x) => (float[B,S,{HIDDEN}] y) {{
                q0 = MatMul(x, Q) k0 = MatMul(x, K) v0 = MatMul(x, V)
                q1 = Reshape(q0, split) k1 = Reshape(k0, split) v1 = Reshape(v0, split)
                q = Transpose<perm = [0, 2, 1, 3]>(q1) k = Transpose<perm = [0, 2, 1, 3]>(k1)
                v = Transpose<perm = [0, 2, 1, 3]>(v1)
                a = Attention{attributes}(q, k, v) c0 = Transpose<perm = [0, 2, 1, 3]>(a) c = Reshape(c0, joined)
                y = MatMul(c, O)
            }}"""
        sizes: dict[str, Any] = {"split": np.array([0, 0, HEADS, WIDTH]), "joined": np.array([0, 0, HIDDEN])}
        return tiny_model(graph, opset=23, **weights, **sizes)

    changed, feeds = given(), {"x": FEEDS["x"]}
    assert [site.weight.name for block in blocks(changed) for site in block.sites] == found
    narrow(changed, WIDTH)
    np.testing.assert_allclose(run(changed, feeds)[0], run(given(), feeds)[0], rtol=1e-4, atol=1e-4)
    narrow(changed, THIN)
    assert run(changed, feeds)[0].shape == FEEDS["x"].shape


@pytest.fixture(scope="module")
def exports(model_cache: Path) -> Path:
    return exported_models(model_cache)


class TestExports:
    """At full width every export that is spelled out returns what it did; other attentions are left alone."""

    @pytest.mark.parametrize(
        ("export", "sites"),
        [
            ("bert/optimum", "QQ VV"),
            ("bert/dynamo", "QQ VV"),
            ("distilbert/optimum", "QQ VV"),
            ("roberta/dynamo", "QQ VV"),
            ("electra/optimum", "QQ VV"),
            ("mpnet/optimum", "QQ VV"),
            ("mpnet/dynamo", "QQ VV"),
            ("bert/dynamo_opset23", "QQ VV"),  # one operator is the attention
            ("albert/optimum", "Q V"),  # weights that both layers share
            ("deberta/optimum", "VV"),
            ("llama/optimum", "VV"),  # two heads of the value for four of the query
            ("phi/optimum", "VV"),
        ],
    )
    def test_thinner(self, exports: Path, export: str, sites: str) -> None:
        path = exports / f"{export}.onnx"
        feeds = padded_batch(path)
        expected = run(load_model(path).ir, feeds)[0]
        full, thin = load_model(path).ir, load_model(path).ir
        found = ["Q" if isinstance(block, QueryKey) else "V" for block in blocks(full)]
        assert "".join(found) == sites.replace(" ", "")
        narrow(full, 8)
        np.testing.assert_allclose(run(full, feeds)[0], expected, rtol=1e-5, atol=1e-5)
        narrow(thin, 4)
        for level in LEVELS:
            assert run(thin, feeds, level)[0].shape == expected.shape

    @pytest.mark.parametrize("export", ["bert/fused_level1", "bert/int8", "gpt2/optimum", "modernbert/optimum"])
    def test_left_alone(self, exports: Path, export: str) -> None:
        assert blocks(load_model(exports / f"{export}.onnx").ir) == ()
