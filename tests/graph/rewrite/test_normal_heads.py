"""Attention in many spellings: after `normalize_heads` it computes what it did, and its heads can be made thinner."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.attention_heads import find_query_keys, find_value_outputs
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.normal_heads import normalize_heads
from tests.architectures import exported_models, padded_batch
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

HEADS, WIDTH, HIDDEN, TOKENS = 2, 4, 8, 5
FEEDS = {"x": random_weight(2, TOKENS, HIDDEN, seed=9)}
SPLIT = "Reshape(q, split) k1 = Reshape(k, split) v1 = Reshape(v, split)"
BY_HEAD = """
    qh = Transpose<perm = [0, 2, 1, 3]>(q1) kh = Transpose<perm = [0, 2, 3, 1]>(k1) vh = Transpose<perm = [0, 2, 1, 3]>(v1)"""
SCORES = "s0 = MatMul(qh, kh) s = Mul(s0, scale) p = Softmax(s) ch = MatMul(p, vh)"
JOIN = "ct = Transpose<perm = [0, 2, 1, 3]>(ch) c = Reshape(ct, joined)"


def model(packed: str, *, split: str = "", scores: str = SCORES, join: str = JOIN, **constants: Any) -> ir.Model:
    """Return an attention over ``packed`` products, which name q, k and v, or with ``split`` already qh, kh and vh."""
    body = split or f"q1 = {SPLIT} {BY_HEAD}"
    text = f"""
        g (float[B,S,{HIDDEN}] x) => (float[B,S,{HIDDEN}] y) {{
            {packed} {body} {scores} {join}
            o = MatMul(c, O) y = Add(o, x)
        }}"""
    known: dict[str, Any] = {
        "P": random_weight(HIDDEN, 3 * HIDDEN, seed=1),
        "b": random_weight(3 * HIDDEN, seed=2),
        "O": random_weight(HIDDEN, HIDDEN, seed=3),
        "split": np.array([0, 0, HEADS, WIDTH]),
        "joined": np.array([0, 0, HIDDEN]),
        "scale": np.float32(0.5),
        **constants,
    }
    return tiny_model(text, **{name: value for name, value in known.items() if name in text.replace("(", " ( ")})


PRODUCT = "pp = MatMul(x, P) p0 = Add(pp, b)"
GRAPHS: dict[str, Mapping[str, Any]] = {
    "equal parts": {"packed": f"{PRODUCT} q, k, v = Split<axis = -1, num_outputs = 3>(p0)"},
    "parts as an axis": {
        "packed": f"{PRODUCT} p1 = Reshape(p0, five) p2 = Transpose<perm = [2, 0, 3, 1, 4]>(p1)",
        "split": """qh = Gather<axis = 0>(p2, zero) k1 = Gather<axis = 0>(p2, one) vh = Gather<axis = 0>(p2, two)
            kh = Transpose<perm = [0, 1, 3, 2]>(k1)""",
        "five": np.array([0, 0, 3, HEADS, WIDTH]),
        "zero": np.array(0),
        "one": np.array(1),
        "two": np.array(2),
    },
    "parts within each head": {
        "packed": f"{PRODUCT} p1 = Reshape(p0, wide) q1, k1, v1 = Split<axis = 3, num_outputs = 3>(p1)",
        "split": BY_HEAD,
        "wide": np.array([0, 0, HEADS, 3 * WIDTH]),
    },
    "a product of a matrix, as GPT-2 has it": {
        "packed": """rows = Reshape(x, flat) pp = Gemm(rows, P, b) shape = Shape(x) lead = Slice(shape, zeros, twos)
            all = Concat<axis = 0>(lead, size) p0 = Reshape(pp, all) q, k, v = Split<axis = -1, num_outputs = 3>(p0)""",
        "flat": np.array([-1, HIDDEN]),
        "zeros": np.array([0]),
        "twos": np.array([2]),
        "size": np.array([3 * HIDDEN]),
    },
    "a scale before the heads, and shapes read off them": {
        "packed": f"""{PRODUCT} q0, k, v = Split<axis = -1, num_outputs = 3>(p0) q = Mul(q0, scale)
            shape = Shape(q) lead = Slice(shape, zeros, twos)""",
        "join": """ct = Transpose<perm = [0, 2, 1, 3]>(ch) size = Shape<start = 2>(q) all = Concat<axis = 0>(lead, size)
            c = Reshape(ct, all)""",
        "zeros": np.array([0]),
        "twos": np.array([2]),
    },
    "a fixed number of tokens": {
        "packed": f"{PRODUCT} q, k, v = Split<axis = -1, num_outputs = 3>(p0)",
        "split": np.array([2, TOKENS, HEADS, WIDTH]),
        "joined": np.array([2, TOKENS, HIDDEN]),
    },
    "batch and heads as one axis": {
        "packed": f"{PRODUCT} q, k, v = Split<axis = -1, num_outputs = 3>(p0)",
        "split": f"""q1 = {SPLIT.replace("split", "fixed")} {BY_HEAD.replace("qh", "q2").replace("kh", "k2").replace("vh", "v2")}
            qh = Reshape(q2, three) kh = Reshape(k2, keys) vh = Reshape(v2, three)""",
        "join": "ci = Reshape(ch, four) ct = Transpose<perm = [0, 2, 1, 3]>(ci) c = Reshape(ct, joined)",
        "fixed": np.array([2, TOKENS, HEADS, WIDTH]),
        "three": np.array([-1, TOKENS, WIDTH]),
        "keys": np.array([-1, WIDTH, TOKENS]),
        "four": np.array([-1, HEADS, TOKENS, WIDTH]),
    },
    "keys and values that heads share": {
        "packed": "p0 = MatMul(x, P) q, k2, v2 = Split<axis = -1>(p0, sizes) k1 = Unsqueeze(k2, axis) v1 = Unsqueeze(v2, axis)",
        "split": "q1 = Reshape(q, split) k3 = Expand(k1, heads) v3 = Expand(v1, heads)"
        + BY_HEAD.replace("k1", "k3").replace("v1", "v3"),
        "P": random_weight(HIDDEN, HIDDEN + 2 * WIDTH, seed=1),
        "sizes": np.array([HIDDEN, WIDTH, WIDTH]),
        "axis": np.array([2]),
        "heads": np.array([1, 1, HEADS, 1]),
    },
}


def built(spelled: Mapping[str, Any]) -> ir.Model:
    """Constants may have the names of parameters: what is no text is a constant."""
    texts = {name: value for name, value in spelled.items() if isinstance(value, str)}
    constants = {name: value for name, value in spelled.items() if not isinstance(value, str)}
    if "split" in constants:
        entries = constants.pop("split")
        texts["split"] = f"q1 = {SPLIT.replace('split', 'fixed')} {BY_HEAD}"
        constants["fixed"] = entries
    return model(**texts, **constants)


def found(changed: ir.Model) -> list[str]:
    sites = find_sites(changed).sites
    return ["QK" for _ in find_query_keys(sites)] + ["VO" for _ in find_value_outputs(sites)]


@pytest.mark.parametrize("spelled", GRAPHS.values(), ids=GRAPHS)
def test_rewritten(spelled: Mapping[str, Any]) -> None:
    changed = built(spelled)
    assert found(changed) == []
    normalize_heads(changed)
    assert found(changed) == ["QK", "VO"]
    assert not any(value.name == "P" for value in changed.graph.initializers.values())
    np.testing.assert_allclose(run(changed, FEEDS)[0], run(built(spelled), FEEDS)[0], rtol=1e-5, atol=1e-5)
    before = operators(changed)
    normalize_heads(changed)
    assert operators(changed) == before  # it is in normal form


LEFT_ALONE: dict[str, Mapping[str, Any]] = {
    "a product that the model returns too": {
        "packed": f"{PRODUCT} q, k, v = Split<axis = -1, num_outputs = 3>(p0) h = Slice(p0, zeros, eights, twos)",
        "join": f"{JOIN.replace('c = ', 'c0 = ')} c = Add(c0, h)",
        "zeros": np.array([0]),
        "eights": np.array([HIDDEN]),
        "twos": np.array([2]),
    },
    "columns that two heads share in part": {
        "packed": f"{PRODUCT} q, k, v = Split<axis = -1, num_outputs = 3>(p0)",
        "split": np.array([0, 0, WIDTH, HEADS]),
        "join": "ct = Transpose<perm = [0, 2, 3, 1]>(ch) c = Reshape(ct, joined)",
    },
}


@pytest.mark.parametrize("spelled", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_computes_what_it_did_where_it_is_not_understood(spelled: Mapping[str, Any]) -> None:
    changed = built(spelled)
    normalize_heads(changed)
    assert "VO" not in found(changed)
    np.testing.assert_allclose(run(changed, FEEDS)[0], run(built(spelled), FEEDS)[0], rtol=1e-5, atol=1e-5)


def test_what_is_in_normal_form_stays_as_it_is() -> None:
    weights: dict[str, Any] = {name: random_weight(HIDDEN, HIDDEN, seed=seed) for seed, name in enumerate("QKV")}
    changed = model("q = MatMul(x, Q) k = MatMul(x, K) v = MatMul(x, V)", **weights)
    before = ir.to_proto(changed).SerializeToString(deterministic=True)
    normalize_heads(changed)
    assert ir.to_proto(changed).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("export", "blocks"),
    [
        ("gpt2/optimum", "QK QK VO VO"),
        ("gpt2/dynamo", "QK QK VO VO"),
        ("modernbert/optimum", "VO VO"),
        ("llama/dynamo", "VO VO"),
        ("deberta/optimum", "VO VO"),
        ("bert/int8", ""),
        ("bert/fused_level1", ""),
    ],
)
def test_exports_compute_what_they_did(model_cache: Path, export: str, blocks: str) -> None:
    path = exported_models(model_cache) / f"{export}.onnx"
    feeds, changed = padded_batch(path), load_model(path).ir
    normalize_heads(changed)
    assert found(changed) == blocks.split()
    np.testing.assert_allclose(run(changed, feeds)[0], run(load_model(path).ir, feeds)[0], rtol=1e-5, atol=1e-5)
