"""Weights that are open to a perturbation: each is what it was plus what is fed in."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.perturbation import open_to_perturbation
from tests.graph.execution import run

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((4, 3)).astype(np.float32)
INPUT = RNG.standard_normal((2, 4)).astype(np.float32)
CHANGE = RNG.standard_normal((4, 3)).astype(np.float32)


def model(node: onnx.NodeProto, weight: np.ndarray, feed: onnx.ValueInfoProto) -> ir.Model:
    graph = helper.make_graph(
        [node],
        "one weight",
        [feed],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "W")],
    )
    return ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    )


X = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])
IDS = helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [2])


@pytest.mark.parametrize(
    ("node", "weight", "feed", "rows"),
    [
        (helper.make_node("MatMul", ["x", "W"], ["y"], name="site"), WEIGHT, X, INPUT),
        (helper.make_node("Gemm", ["x", "W"], ["y"], name="site", transB=1), WEIGHT.T.copy(), X, INPUT),
        (helper.make_node("Gather", ["W", "x"], ["y"], name="site"), WEIGHT, IDS, np.array([3, 1])),
    ],
    ids=["a MatMul", "a Gemm that transposes its weight", "a Gather"],
)
def test_what_is_fed_in_is_added_to_the_weight(
    node: onnx.NodeProto, weight: np.ndarray, feed: onnx.ValueInfoProto, rows: np.ndarray
) -> None:
    opened = model(node, weight, feed)
    name = open_to_perturbation(opened, find_sites(opened).sites).inputs["site"]

    def expected(matrix: np.ndarray) -> np.ndarray:
        return np.asarray(matrix[rows] if node.op_type == "Gather" else rows @ matrix)

    [still] = run(opened, {"x": rows, name: np.zeros((1, 1), np.float32)})
    np.testing.assert_allclose(still, expected(WEIGHT), rtol=1e-5, atol=1e-6)
    [moved] = run(opened, {"x": rows, name: CHANGE})
    np.testing.assert_allclose(moved, expected(WEIGHT + CHANGE), rtol=1e-5, atol=1e-6)


def test_only_the_sites_asked_for_are_opened() -> None:
    whole = model(helper.make_node("MatMul", ["x", "W"], ["y"], name="site"), WEIGHT, X)
    opened = open_to_perturbation(whole, [])
    assert (opened.inputs, [value.name for value in whole.graph.inputs]) == ({}, ["x"])


def test_a_site_that_a_part_lacks_can_be_disturbed_in_vain() -> None:
    whole = model(helper.make_node("MatMul", ["x", "W"], ["y"], name="site"), WEIGHT, X)
    rest = model(helper.make_node("MatMul", ["x", "W"], ["z"], name="other"), WEIGHT, X)
    name = open_to_perturbation(rest, find_sites(whole).sites).inputs["site"]
    assert [value.name for value in rest.graph.inputs] == ["x", name]
    assert [node.op_type for node in rest.graph] == ["MatMul"]
