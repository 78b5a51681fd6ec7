"""Two models in one graph: both compute what they did, and what they share is there once."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.rewrite.side_by_side import side_by_side
from tests.graph.execution import run
from tests.tiny_encoder import batch, encoder_model


def parsed() -> ir.Model:
    return ir.serde.deserialize_model(encoder_model(layers=1))


@pytest.fixture(scope="module")
def dense() -> ir.Model:
    return parsed()


def test_both_compute_what_they_did(dense: ir.Model) -> None:
    other = parsed()
    weight = other.graph.initializers["layer.0/query.weight"]
    changed = weight.const_value
    assert changed is not None
    weight.const_value = ir.Tensor(2 * changed.numpy(), name=weight.name)
    feeds = batch()
    expected = run(dense, feeds), run(other, feeds)
    both, called = side_by_side(dense.clone(), other.clone(), "first/")
    found = run(both, {**feeds, **{called[name]: array for name, array in feeds.items()}})
    for array, (single,) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, single)
    assert not np.array_equal(found[0], found[1])


def test_what_is_the_same_tensor_is_there_once_and_keeps_its_name(dense: ir.Model) -> None:
    one, other = dense.clone(), dense.clone()
    weight = other.graph.initializers["layer.0/query.weight"]
    weight.const_value = ir.Tensor(np.zeros((32, 32), np.float32), name=weight.name)
    both, _ = side_by_side(one, other, "first/")
    assert set(both.graph.initializers) == {*dense.graph.initializers, "first/layer.0/query.weight"}
    assert all(value.const_value.name == name for name, value in dense.graph.initializers.items() if value.const_value)
