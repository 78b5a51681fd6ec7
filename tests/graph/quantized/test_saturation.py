"""Which products of integers are clipped by processors that add up pairs of them in 16 bits."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.graph.quantized.saturation import PAIR_LIMIT, largest_pairs, saturating_products
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.processor import int8_products_saturate

FITTING = np.array([[100, -127], [28, 127]], np.int8)
TOO_LARGE = np.array([[100, -127], [29, 127]], np.int8)


@pytest.mark.parametrize(
    ("column", "largest"),
    [
        ([100, 28, 127, -127], 128),
        ([-100, -28, 1, 1], 128),
        ([1, 127, 127, 1], 128),
        ([127], 0),
        ([3, 4, 127], 7),
    ],
    ids=["one sign", "the other", "only neighbours from an even place on", "alone", "the last of an odd number"],
)
def test_the_largest_pair_of_a_column(column: list[int], largest: int) -> None:
    assert largest_pairs(np.array(column)[:, None]).tolist() == [largest]


def integer_product(weight: np.ndarray, rows: np.dtype, op: str = "MatMulInteger") -> ir.Model:
    kind = helper.np_dtype_to_tensor_dtype(rows)
    inputs = [helper.make_tensor_value_info("x", kind, ["b", len(weight)])]
    if op == "MatMulInteger":
        nodes = [helper.make_node(op, ["x", "w"], ["y"], name="product")]
        result = TensorProto.INT32
    else:
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "s"], ["a"], name="rows"),
            helper.make_node("DequantizeLinear", ["w", "s"], ["b"], name="weight"),
            helper.make_node(op, ["a", "b"], ["y"], name="product"),
        ]
        result = TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info("y", result, ["b", weight.shape[1]])]
    tensors = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array(0.5, np.float32), "s")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.serde.deserialize_model(proto)


@pytest.mark.parametrize("op", ["MatMulInteger", "MatMul", "Gemm"])
@pytest.mark.parametrize(
    ("weight", "found"),
    [
        (TOO_LARGE, ("product",)),
        (FITTING, ()),
        ((TOO_LARGE.astype(int) + 128).astype(np.uint8), ()),
    ],
    ids=["too large", "fitting", "unsigned weight"],
)
def test_products_that_depend_on_the_processor_are_found(op: str, weight: np.ndarray, found: tuple[str, ...]) -> None:
    assert saturating_products(integer_product(weight, np.dtype(np.uint8), op)) == found


@pytest.mark.parametrize(("op", "found"), [("MatMulInteger", ()), ("MatMul", ("product",))])
def test_signed_rows_are_exact_unless_onnxruntime_makes_them_unsigned(op: str, found: tuple[str, ...]) -> None:
    assert saturating_products(integer_product(TOO_LARGE, np.dtype(np.int8), op)) == found


@pytest.mark.parametrize("features", [64, 385, 3072])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_what_is_said_to_fit_is_exact_here(features: int, rows: int) -> None:
    """On whatever processor this runs; where products saturate, those that do not fit are not exact."""
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (features, 48))
    over = np.maximum(largest_pairs(weight), PAIR_LIMIT)
    fitting = np.trunc(weight * PAIR_LIMIT / over).astype(np.int8)
    x = np.full((rows, features), 255, np.uint8)

    def is_exact(weight: np.ndarray) -> bool:
        session = open_session(ir.to_proto(integer_product(weight, np.dtype(np.uint8))).SerializeToString())
        return bool((session.run(None, {"x": x})[0] == x.astype(int) @ weight.astype(int)).all())

    assert is_exact(fitting)
    assert is_exact(weight.astype(np.int8)) or int8_products_saturate()
