"""The linear head, found by structure: what it reads, and the weight and bias between that and the logits."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.linear_head import find_linear_head
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site
from tests.tiny_encoder import encoder_model, weights_of

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.standard_normal((6, 3)).astype(np.float32), RNG.standard_normal(3).astype(np.float32)


def parsed(body: str, **initializers: np.ndarray) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[N,6] x) => (float[N,3] logits) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in initializers.items())
    return ir.serde.deserialize_model(model)


@pytest.mark.parametrize(
    "body",
    [
        "h = Tanh(x) logits = Gemm(h, W, b)",
        "h = Tanh(x) p = MatMul(h, W) logits = Add(b, p)",
        "h = Tanh(x) p = MatMul(h, W) z = Add(p, b) logits = Identity(z)",
    ],
)
def test_of_one_weight(body: str) -> None:
    head = find_linear_head(parsed(body, W=WEIGHT, b=BIAS), "logits")
    assert head is not None
    assert (head.features, head.in_features) == ("h", 6)
    assert np.array_equal(head.read_weight(), WEIGHT)
    assert np.array_equal(head.read_bias(), BIAS)


def test_without_a_bias() -> None:
    head = find_linear_head(parsed("h = Tanh(x) logits = MatMul(h, W)", W=WEIGHT), "logits")
    assert head is not None
    assert np.array_equal(head.read_bias(), np.zeros(3))


def test_of_a_whole_model_and_after_it_was_factored() -> None:
    proto = encoder_model(classifier=True)
    weight = weights_of(proto)["classifier.weight"].T.astype(np.float64)
    model = ir.from_proto(proto)
    dense = find_linear_head(model, "logits")
    left, right = np.linalg.qr(weight)
    site = next(site for site in find_sites(model).sites if site.name == "classifier")
    factor_site(model, site, left[:, :1], right[:1])
    factored = find_linear_head(model, "logits")
    assert dense is not None and factored is not None
    assert (len(dense.sites), len(factored.sites)) == (1, 2)
    assert dense.features == factored.features
    assert np.allclose(dense.read_weight(), weight)
    assert np.allclose(factored.read_weight(), left[:, :1] @ right[:1], atol=1e-6)


def test_is_none_where_more_than_a_weight_makes_the_logits() -> None:
    assert find_linear_head(parsed("p = MatMul(x, W) logits = Tanh(p)", W=WEIGHT), "logits") is None
