"""Transformer layers in the text form of ONNX, of all the shapes that exporters give them, and where their weights are placed."""

import re
from typing import Any

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.sites import find_sites
from tests.graph.tiny_graphs import random_weight, tiny_model

Placements = dict[str, tuple[str, int | None]]

# What the graphs below may use besides their weights W… (4, 4) and biases c… (4).
CONSTANTS = {
    "half": np.float32(0.5),
    "first": np.array(0),
    "axis1": np.array([1]),
    "zero": np.array([0]),
    "two": np.array([2]),
    "four": np.array([4]),
    "last": np.array([-1]),
    "heads": np.array([0, 0, 2, 2]),
    "merged": np.array([0, 0, 4]),
    "low": np.float32(-1e9),
    "integers": np.zeros((4, 4), np.int8),
}


def described(body: str, inputs: str, outputs: str) -> ir.Model:
    constants: dict[str, Any] = {name: random_weight(4, 4) for name in re.findall(r"\bW\w*", body)}
    constants |= {name: random_weight(4) for name in re.findall(r"\bc\d\b", body)}
    constants |= {name: value for name, value in CONSTANTS.items() if name in body}
    return tiny_model(f"g ({inputs}) => ({outputs}) {{ {body} }}", **constants)


def placed(body: str, inputs: str = "float[B,S,4] x", outputs: str = "float[M] y") -> Placements:
    """Return (role, layer) of every site in the graph of ``body``, by name."""
    search = find_sites(described(body, inputs, outputs))
    return {site.name: (str(site.role), site.layer) for site in search.sites}


def projections(n: int, x: str) -> str:
    return f"[q{n}] q{n} = MatMul({x}, Wq{n})\n [k{n}] k{n} = MatMul({x}, Wk{n})\n [v{n}] v{n} = MatMul({x}, Wv{n})\n"


def core(n: int, q: str, k: str, v: str) -> str:
    return f"""
        kt{n} = Transpose <perm = [0, 2, 1]> ({k})
        s{n} = MatMul({q}, kt{n})
        p{n} = Softmax(s{n})
        context{n} = MatMul(p{n}, {v})
    """


def output(n: int, y: str) -> str:
    return f"[o{n}] {y} = MatMul(context{n}, Wo{n})\n"


def attention(n: int, x: str, y: str) -> str:
    return projections(n, x) + core(n, f"q{n}", f"k{n}", f"v{n}") + output(n, y)


def feed_forward(n: int, x: str, y: str) -> str:
    return f"[i{n}] i{n} = MatMul({x}, Wi{n})\n g{n} = Relu(i{n})\n [f{n}] {y} = MatMul(g{n}, Wf{n})\n"


def post_norm_layer(n: int, x: str, y: str) -> str:
    return f"""
        {attention(n, x, f"a{n}")}
        r{n} = Add(a{n}, {x})
        m{n} = LayerNormalization(r{n}, c1)
        {feed_forward(n, f"m{n}", f"h{n}")}
        t{n} = Add(h{n}, m{n})
        {y} = LayerNormalization(t{n}, c2)
    """


def pre_norm_layer(n: int, x: str, y: str) -> str:
    return f"""
        l{n} = LayerNormalization({x}, c1)
        {attention(n, f"l{n}", f"a{n}")}
        r{n} = Add({x}, a{n})
        m{n} = LayerNormalization(r{n}, c2)
        {feed_forward(n, f"m{n}", f"h{n}")}
        {y} = Add(r{n}, h{n})
    """


def whole_layer(n: int, index: int) -> Placements:
    return {
        f"q{n}": ("query", index),
        f"k{n}": ("key", index),
        f"v{n}": ("value", index),
        f"o{n}": ("attention_output", index),
        f"i{n}": ("ffn_in", index),
        f"f{n}": ("ffn_out", index),
    }


SEPARATE = {"q0": ("query", 0), "k0": ("key", 0), "v0": ("value", 0)}
WITH_OUTPUT = {**SEPARATE, "o0": ("attention_output", 0)}
