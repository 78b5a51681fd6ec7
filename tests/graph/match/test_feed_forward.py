"""Which weights lie around neurons that can be taken out one by one."""

import re
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.feed_forward import FeedForward, find_feed_forwards
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import run
from tests.graph.tiny_graphs import random_weight, tiny_model

IN, NEURONS, OUT = 4, 6, 3
CONSTANTS: dict[str, Any] = {
    "W": random_weight(IN, NEURONS),
    "G": random_weight(IN, NEURONS, seed=1),
    "V": random_weight(NEURONS, OUT, seed=2),
    "b": random_weight(NEURONS, seed=3),
    "half": np.array(0.5, np.float32),
    "one": np.ones(1, np.float32),
    "row": random_weight(1, NEURONS, seed=4),
    "P": random_weight(IN, 2 * NEURONS, seed=6),
    "p": random_weight(2 * NEURONS, seed=7),
    "sizes": np.array([NEURONS, NEURONS]),
    "zero": np.array([0]),
    "width": np.array([NEURONS]),
    "end": np.array([2**62]),
    "last": np.array([-1]),
    "two": np.array([2]),
    "odd": np.array([1]),
    "first": np.array(0),
    "second": np.array(1),
    "halves": np.array([0, 2, NEURONS]),
    "pairs": np.array([0, NEURONS, 2]),
    "backwards": np.arange(NEURONS)[::-1].copy(),
    "flat": np.array([-1, IN]),
    "flattened": np.array([5, NEURONS]),
    "of_fixed": np.array([1, 5, NEURONS]),
    "fixed": np.array([5, IN]),
}
X = random_weight(5, IN, seed=9)
KEPT = np.array([1, 5])


def block_model(body: str) -> ir.Model:
    words = set(re.findall(r"\w+", body))
    used = {name: value for name, value in CONSTANTS.items() if name in words}
    return tiny_model(f"g (float[B,4] x) => (float[B,3] z) {{ {body} }}", **used)


def blocks(model: ir.Model) -> tuple[FeedForward, ...]:
    return find_feed_forwards(find_sites(model).sites)


SLICED = {
    "relu": "a = MatMul(x, W) h = Relu(a) z = MatMul(h, V)",
    "bias": "a = MatMul(x, W) c = Add(a, b) h = Relu(c) z = MatMul(h, V)",
    "bias behind Identity": "i = Identity(b) a = MatMul(x, W) c = Add(i, a) h = Relu(c) z = MatMul(h, V)",
    "Gemm": "a = Gemm(x, W, b) h = Relu(a) z = Gemm(h, V)",
    "gelu": "a = MatMul(x, W) e = Erf(a) f = Add(e, one) g = Mul(a, f) h = Mul(g, half) z = MatMul(h, V)",
    "gate": "a = MatMul(x, W) g = MatMul(x, G) s = Sigmoid(g) t = Mul(g, s) h = Mul(a, t) z = MatMul(h, V)",
    "a row of constants": "a = MatMul(x, W) h = Add(a, row) z = MatMul(h, V)",
    "packed, split": """a = MatMul(x, P) c = Add(a, p) u, g = Split<axis = -1>(c, sizes)
        s = Relu(g) h = Mul(u, s) z = MatMul(h, V)""",
    "packed, split in two": """a = MatMul(x, P) u, g = Split<axis = -1, num_outputs = 2>(a)
        s = Relu(g) h = Mul(u, s) z = MatMul(h, V)""",
    "packed, sliced": """a = Gemm(x, P, p) u = Slice(a, zero, width, last) g = Slice(a, width, end, last)
        s = Tanh(g) h = Mul(u, s) z = MatMul(h, V)""",
    "packed in pairs, sliced": """a = MatMul(x, P) u = Slice(a, zero, end, last, two) g = Slice(a, odd, end, last, two)
        s = Relu(g) h = Mul(u, s) z = MatMul(h, V)""",
    "packed in pairs, reshaped": """a = MatMul(x, P) r = Reshape(a, pairs) u = Gather<axis = 2>(r, first)
        g = Gather<axis = 2>(r, second) s = Relu(g) h = Mul(u, s) z = MatMul(h, V)""",
    "packed in halves, reshaped": """a = MatMul(x, P) r = Reshape(a, halves) u = Gather<axis = 1>(r, first)
        g = Gather<axis = 1>(r, second) s = Relu(g) h = Mul(u, s) z = MatMul(h, V)""",
    "packed, sliced by its shape": """a = MatMul(x, P) k = Shape(a) n = Gather(k, last) m = Div(n, two)
        u = Slice(a, zero, m, last) g = Slice(a, m, n, last) s = Relu(g) h = Mul(u, s) z = MatMul(h, V)""",
    "reversed": "a = MatMul(x, W) h = Gather<axis = 1>(a, backwards) z = MatMul(h, V)",
    "flattened, and back": """u = Unsqueeze(x, zero) k = Shape(u) l = Slice(k, zero, two) f = Reshape(u, flat)
        a = Gemm(f, W, b) t = Concat<axis = 0>(l, width) r = Reshape(a, t) h = Relu(r) v = MatMul(h, V) z = Squeeze(v, zero)""",
    "a fixed number of tokens": """q = Reshape(x, fixed) a = Gemm(q, W, b) r = Reshape(a, of_fixed) h = Relu(r)
        f = Reshape(h, flattened) z = Gemm(f, V)""",
    "columns first": "a = MatMul(x, W) t = Transpose(a) r = Relu(t) h = Transpose(r) z = MatMul(h, V)",
    "Einsums that permute": """a = MatMul(x, W) t = Einsum<equation = "ij->ji">(a)
        h = Einsum<equation = "ji->ij">(t) z = MatMul(h, V)""",
}


@pytest.mark.parametrize("body", SLICED.values(), ids=SLICED)
class TestSliced:
    def test_loses_neurons_as_if_the_rest_returned_nothing(self, body: str) -> None:
        model = block_model(body)
        (block,) = blocks(model)
        after = block.after.weight.numpy()
        expected_weight = np.zeros_like(after)
        expected_weight[KEPT] = after[KEPT]
        expected = model.clone()
        Rewriter(expected).replace(blocks(expected)[0].after, expected_weight)
        Rewriter(model).slice(block, KEPT, after[KEPT])
        assert block.columns == NEURONS
        np.testing.assert_allclose(run(model, {"x": X})[0], run(expected, {"x": X})[0], rtol=1e-5, atol=1e-6)

    def test_leaves_weights_of_the_new_shapes_only(self, body: str) -> None:
        model = block_model(body)
        (block,) = blocks(model)
        Rewriter(model).slice(block, KEPT, block.after.weight.numpy()[KEPT])
        sizes = {dim for value in model.graph.initializers.values() if value.shape for dim in value.shape.numpy()}
        assert sizes.isdisjoint({NEURONS, 2 * NEURONS})
        (smaller,) = blocks(model)
        assert smaller.columns == len(KEPT)


LEFT_ALONE = {
    "softmax mixes neurons": "a = MatMul(x, W) h = Softmax(a) z = MatMul(h, V)",
    "a norm": "a = MatMul(x, W) h = LayerNormalization(a, b) z = MatMul(h, V)",
    "neurons are added to others": "a = MatMul(x, W) c = Gather<axis = 1>(a, backwards) h = Add(a, c) z = MatMul(h, V)",
    "a part that is not read": "a = MatMul(x, P) u, g = Split<axis = -1>(a, sizes) h = Relu(u) z = MatMul(h, V)",
    "tokens are summed": 'a = MatMul(x, W) c = Einsum<equation = "ij->j">(a) h = Add(c, row) z = MatMul(h, V)',
    "no weight before": "h = Concat<axis = 1>(x, y) i = Relu(h) z = MatMul(i, V)",
    "an input beside the neurons": "a = MatMul(x, W) c = Concat<axis = 1>(x, y) h = Add(a, c) z = MatMul(h, V)",
    "neurons are read elsewhere": "a = MatMul(x, W) h = Relu(a) m = ReduceMax(a) u = MatMul(h, V) z = Add(u, m)",
    "another weight reads them too": "a = MatMul(x, W) h = Relu(a) u = MatMul(h, V) v = MatMul(h, U) z = Add(u, v)",
    "a weight used twice": "a = MatMul(x, W) c = MatMul(x, W) d = Add(a, c) h = Relu(d) z = MatMul(h, V)",
}


@pytest.mark.parametrize("body", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_left_alone(body: str) -> None:
    words = set(re.findall(r"\w+", body))
    constants = {**CONSTANTS, "U": random_weight(NEURONS, OUT, seed=5)}
    used = {name: value for name, value in constants.items() if name in words}
    model = tiny_model(f"g (float[B,4] x, float[B,2] y) => (float[B,3] z) {{ {body} }}", **used)
    assert blocks(model) == ()


LAYERS = """a = MatMul(x, W) c = Add(a, b) h = Relu(c) y = MatMul(h, S)
    d = MatMul(y, W) e = Add(d, {bias}) g = Relu(e) z = MatMul(g, {after})"""


def shared(bias: str, after: str) -> ir.Model:
    constants: dict[str, Any] = {name: CONSTANTS[name] for name in ("W", "b")}
    weights = {"S": random_weight(NEURONS, IN, seed=5), "T": random_weight(NEURONS, IN, seed=6)}
    used: dict[str, Any] = {name: weights[name] for name in {"S", after}}
    return tiny_model(
        f"g (float[B,4] x) => (float[B,4] z) {{ {LAYERS.format(bias=bias, after=after)} }}", **constants, **used
    )


class TestSharedWeights:
    def test_are_sliced_alike_in_all_layers(self) -> None:
        model, expected = shared("b", "S"), shared("b", "S")
        (block,), (other,) = blocks(model), blocks(expected)
        after = block.after.weight.numpy()
        weight = np.zeros_like(after)
        weight[KEPT] = after[KEPT]
        Rewriter(expected).replace(other.after, weight)
        Rewriter(model).slice(block, KEPT, after[KEPT])
        np.testing.assert_allclose(run(model, {"x": X})[0], run(expected, {"x": X})[0], rtol=1e-5, atol=1e-6)
        assert NEURONS not in {dim for value in model.graph.initializers.values() for dim in value.shape or ()}

    def test_are_left_alone_where_only_one_side_is_shared(self) -> None:
        assert blocks(shared("b", "T")) == ()


def test_neurons_that_the_model_returns_are_left_alone() -> None:
    model = tiny_model(
        "g (float[B,4] x) => (float[B,3] z, float[B,6] h) { a = MatMul(x, W) h = Relu(a) z = MatMul(h, V) }",
        W=CONSTANTS["W"],
        V=CONSTANTS["V"],
    )
    assert blocks(model) == ()


def test_a_weight_of_another_shape_is_refused() -> None:
    model = block_model(SLICED["relu"])
    (block,) = blocks(model)
    with pytest.raises(OptionError, match=r"needs a weight of shape \(2, 3\), not \(6, 3\)"):
        Rewriter(model).slice(block, KEPT, block.after.weight.numpy())
