import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.projections import projection_of, split_bias
from tests.graph.tiny_graphs import random_weight, tiny_model

WEIGHT = random_weight(4, 6)
BIAS = random_weight(6, seed=1)


def output_of(body: str) -> ir.Value:
    graph = f"g (float[B,4] x, float[B,6] z) => (float[B,6] y) {{ {body} }}"
    [output] = tiny_model(graph, W=WEIGHT, b=BIAS).graph.outputs
    return output


@pytest.mark.parametrize("addition", ["Add(m, b)", "Add(b, m)", "Add(m, i)"])
def test_a_product_is_taken_apart_on_whichever_side_its_bias_is(addition: str) -> None:
    found = projection_of(output_of(f"i = Identity(b)  m = MatMul(x, W)  y = {addition}"))
    assert found is not None
    assert (found.rows.name, found.product.name, found.value.name, found.features) == ("x", "m", "y", 6)
    np.testing.assert_array_equal(found.bias, BIAS)
    np.testing.assert_array_equal(found.weight.numpy(), WEIGHT)


def test_a_product_without_bias_has_a_bias_of_zeros() -> None:
    found = projection_of(output_of("y = MatMul(x, W)"))
    assert found is not None
    assert found.product is found.value
    np.testing.assert_array_equal(found.bias, np.zeros(6, np.float32))


@pytest.mark.parametrize("body", ["y = Relu(z)", "m = Relu(z)  y = Add(m, b)", "t = Transpose(z)  y = MatMul(z, t)"])
def test_what_multiplies_no_constant_weight_is_no_projection(body: str) -> None:
    assert projection_of(output_of(body)) is None


def test_a_sum_of_two_computed_values_has_no_bias() -> None:
    found = split_bias(output_of("m = MatMul(x, W)  y = Add(m, z)"))
    assert (found.term.name, found.bias) == ("y", None)
