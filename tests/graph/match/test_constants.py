from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.constants import (
    ConstantMatrix,
    UnusableConstant,
    constant_axes,
    reaches_graph_output,
    resolve_constant,
    uses_of_constant,
)
from tests.graph.tiny_graphs import node_named, random_weight, tiny_model

W = random_weight(4, 6)
INT8 = np.random.default_rng(1).integers(-128, 128, (4, 6)).astype(np.int8)
SCALES = np.linspace(0.01, 0.06, 6).astype(np.float32)


def operand(model: ir.Model, name: str = "mm", index: int = 1) -> ir.Value | None:
    return node_named(model, name).inputs[index]


def resolved(model: ir.Model) -> ConstantMatrix:
    matrix = resolve_constant(operand(model))
    assert isinstance(matrix, ConstantMatrix)
    return matrix


def refused(model: ir.Model) -> str:
    unusable = resolve_constant(operand(model))
    assert isinstance(unusable, UnusableConstant)
    return unusable.reason


def chained(links: str, last: str = "d", **constants: Any) -> ir.Model:
    """A MatMul with the value ``last`` of the operators in ``links``."""
    return tiny_model(f"g (float[B,4] x) => (float[B,N] y) {{ {links}\n [mm] y = MatMul(x, {last}) }}", **constants)


@pytest.mark.parametrize(
    ("links", "last", "stored", "expected"),
    [
        pytest.param("", "W", W, W, id="an initializer as it is"),
        pytest.param("d = Identity(W)", "d", W, W, id="through Identity"),
        pytest.param("d = Transpose(W)", "d", W.T, W, id="through Transpose"),
        pytest.param("d = Transpose <perm = [1, 0]> (W)", "d", W.T, W, id="through Transpose with perm"),
        pytest.param("d = Transpose <perm = [0, 1]> (W)", "d", W, W, id="through a Transpose that does nothing"),
        pytest.param("a = Transpose(W)\n b = Identity(a)\n d = Transpose(b)", "d", W, W, id="through two Transposes"),
        pytest.param(
            "d = Cast <to = 1> (W)", "d", W.astype(np.float16), W.astype(np.float16), id="through Cast from float16"
        ),
        pytest.param("d = Cast <to = 10> (W)", "d", W, W.astype(np.float16), id="through Cast to float16"),
        pytest.param("d = Cast <to = 16> (W)", "d", W, W.astype(ml_dtypes.bfloat16), id="through Cast to bfloat16"),
    ],
)
def test_float_weights_are_read_as_their_consumer_sees_them(
    links: str, last: str, stored: np.ndarray, expected: np.ndarray
) -> None:
    matrix = resolved(chained(links, last, W=np.ascontiguousarray(stored)))
    assert matrix.name == "W"
    assert matrix.shape == expected.shape
    assert matrix.numpy().dtype == np.float32
    np.testing.assert_array_equal(matrix.numpy(), expected.astype(np.float32))
    assert matrix.stored_bytes == stored.nbytes


def test_a_constant_node_is_a_stored_weight() -> None:
    matrix = resolved(chained("d = Constant <value = float[2,3] {1, 2, 3, 4, 5, 6}> ()"))
    assert matrix.name == "d"
    np.testing.assert_array_equal(matrix.numpy(), [[1, 2, 3], [4, 5, 6]])


def test_double_weights_stay_double() -> None:
    matrix = resolved(chained("", "W", W=W.astype(np.float64)))
    assert matrix.numpy().dtype == np.float64
    assert matrix.dtype == ir.DataType.DOUBLE


@pytest.mark.parametrize(
    ("stored", "dtype", "itemsize"),
    [
        pytest.param(W.astype(np.float16), ir.DataType.FLOAT16, 2, id="float16"),
        pytest.param(W.astype(ml_dtypes.bfloat16), ir.DataType.BFLOAT16, 2, id="bfloat16"),
    ],
)
def test_half_precision_weights_are_decoded_to_float32(stored: np.ndarray, dtype: ir.DataType, itemsize: int) -> None:
    matrix = resolved(chained("", "W", W=stored))
    assert (matrix.dtype, matrix.stored_bytes) == (dtype, 24 * itemsize)
    assert matrix.numpy().dtype == np.float32
    np.testing.assert_array_equal(matrix.numpy(), stored.astype(np.float32))


@pytest.mark.parametrize(
    ("links", "constants", "expected"),
    [
        pytest.param(
            "d = DequantizeLinear(Q, s, z)",
            {"Q": INT8, "s": np.float32(0.5), "z": np.int8(-3)},
            (INT8.astype(np.float32) + 3) * 0.5,
            id="one scale for the tensor",
        ),
        pytest.param(
            "d = DequantizeLinear(Q, s)",
            {"Q": INT8, "s": np.float32(0.5)},
            INT8.astype(np.float32) * 0.5,
            id="no zero point",
        ),
        pytest.param(
            "d = DequantizeLinear <axis = 1> (Q, s)",
            {"Q": INT8, "s": SCALES},
            INT8.astype(np.float32) * SCALES,
            id="a scale for each column",
        ),
        pytest.param(
            "a = DequantizeLinear <axis = 0> (Q, s)\n d = Transpose(a)",
            {"Q": INT8.T.copy(), "s": SCALES},
            INT8.astype(np.float32) * SCALES,
            id="a scale for each row, then Transpose",
        ),
        pytest.param(
            "a = Transpose(Q)\n d = DequantizeLinear <axis = -1> (a, s)",
            {"Q": INT8.T.copy(), "s": SCALES},
            INT8.astype(np.float32) * SCALES,
            id="Transpose, then a scale for each column counted from the end",
        ),
        pytest.param(
            "d = com.microsoft.DequantizeLinear(Q, s, z)",
            {"Q": INT8.view(np.uint8), "s": np.float32(0.25), "z": np.uint8(128)},
            (INT8.view(np.uint8).astype(np.float32) - 128) * 0.25,
            id="onnxruntime's own DequantizeLinear, unsigned",
        ),
        pytest.param(
            "d = DequantizeLinear(Q, s)",
            {"Q": (INT8 // 16).astype(ml_dtypes.int4), "s": np.float32(0.5)},
            (INT8 // 16).astype(np.float32) * 0.5,
            id="4-bit integers",
        ),
    ],
)
def test_dequantized_weights_are_decoded(links: str, constants: dict[str, Any], expected: np.ndarray) -> None:
    matrix = resolved(chained(links, **constants))
    assert matrix.dtype == ir.DataType.FLOAT
    assert matrix.shape == expected.shape
    np.testing.assert_array_equal(matrix.numpy(), expected)


def test_a_quantized_weight_counts_its_integers_as_stored_bytes() -> None:
    assert resolved(chained("d = DequantizeLinear(Q, s)", Q=INT8, s=np.float32(0.5))).stored_bytes == INT8.nbytes


def test_the_scale_decides_the_type_of_a_dequantized_weight() -> None:
    matrix = resolved(chained("d = DequantizeLinear(Q, s)", Q=INT8, s=np.float16(0.5)))
    assert matrix.dtype == ir.DataType.FLOAT16


@pytest.mark.parametrize(
    ("links", "last", "constants", "reason"),
    [
        pytest.param("", "Q", {"Q": INT8}, "type INT8, not a float", id="integers"),
        pytest.param("", "W", {"W": W.reshape(2, 2, 6)}, "shape [2, 2, 6], not a matrix", id="three axes"),
        pytest.param("", "W", {"W": W[:, 0]}, "shape [4], not a matrix", id="one axis"),
        pytest.param("", "W", {"W": W[:, :0]}, "empty constant of shape [4, 0]", id="no columns"),
        pytest.param(
            "d = Cast <to = 1> (Q)", "d", {"Q": INT8}, "cast from INT8 to FLOAT", id="integers cast to floats"
        ),
        pytest.param(
            "d = DequantizeLinear <axis = 0, block_size = 2> (Q, s)",
            "d",
            {"Q": INT8, "s": np.ones((2, 6), np.float32)},
            "neither one scale nor one for each row or column",
            id="a scale for each block",
        ),
        pytest.param(
            "d = DequantizeLinear <axis = 0, block_size = 4> (Q, s)",
            "d",
            {"Q": INT8[:, :4], "s": np.ones((1, 4), np.float32)},
            "neither one scale nor one for each row or column",
            id="as many blocks as rows",
        ),
        pytest.param(
            "d = DequantizeLinear(Q, s)",
            "d",
            {"Q": INT8, "s": np.ones(5, np.float32)},
            "neither one scale nor one for each row or column",
            id="a scale too few",
        ),
    ],
)
def test_constants_that_are_no_usable_weight_say_why(
    links: str, last: str, constants: dict[str, Any], reason: str
) -> None:
    assert reason in refused(chained(links, last, **constants))


def test_a_weight_that_a_caller_may_override_is_not_constant() -> None:
    model = tiny_model("g (float[B,4] x, float[4,6] W) => (float[B,6] y) { [mm] y = MatMul(x, W) }", W=W)
    said = "that is also a graph input, so a caller may override it; `freeze_inputs` makes it a constant"
    assert refused(model) == f"has a weight, 'W', {said}"


def test_a_scale_that_a_caller_may_override_is_not_constant() -> None:
    graph = "g (float[B,4] x, float s) => (float[B,6] y) { d = DequantizeLinear(Q, s)\n [mm] y = MatMul(x, d) }"
    assert "scale or zero point is not constant" in refused(tiny_model(graph, Q=INT8, s=np.float32(0.5)))


def test_activations_are_no_constants() -> None:
    model = tiny_model("g (float[B,4] x, float[4,6] w) => (float[B,6] y) { v = Identity(w)\n [mm] y = MatMul(x, v) }")
    assert resolve_constant(operand(model)) is None
    assert resolve_constant(None) is None


class UnreadableTensor(ir.LazyTensor):
    def __init__(self) -> None:
        super().__init__(self.fail, ir.DataType.FLOAT, ir.Shape([4, 6]))

    def fail(self) -> ir.TensorProtocol:
        raise AssertionError("the weight was read")


def test_nothing_is_read_before_numpy() -> None:
    model = chained("a = Transpose(W)\n d = Cast <to = 10> (a)", W=W)
    model.graph.initializers["W"].const_value = UnreadableTensor()
    matrix = resolved(model)
    assert (matrix.shape, matrix.dtype, matrix.stored_bytes) == ((6, 4), ir.DataType.FLOAT16, 96)
    with pytest.raises(AssertionError, match="the weight was read"):
        matrix.numpy()


def test_the_transposed_matrix_is_the_same_tensor_from_the_other_side() -> None:
    matrix = resolved(chained("", "W", W=W))
    np.testing.assert_array_equal(matrix.transpose().numpy(), W.T)
    assert not matrix.same_as(matrix.transpose())
    assert matrix.same_as(matrix.transpose().transpose())


def test_matrices_reached_by_different_links_are_recognized_as_the_same() -> None:
    graph = """g (float[B,4] x) => (float[B,6] y, float[B,6] z, float[B,6] u) {
        a = Transpose(W)
        b = Transpose(a)
        c = Cast <to = 1> (W)
        [direct] y = MatMul(x, W)
        [roundabout] z = MatMul(x, b)
        [cast] u = MatMul(x, c)
    }"""
    model = tiny_model(graph, W=W)
    direct, roundabout, cast = (resolve_constant(operand(model, name)) for name in ("direct", "roundabout", "cast"))
    assert isinstance(direct, ConstantMatrix)
    assert isinstance(roundabout, ConstantMatrix)
    assert isinstance(cast, ConstantMatrix)
    assert direct.same_as(roundabout)
    assert not direct.same_as(cast)


def test_uses_of_a_constant_are_found_behind_its_links() -> None:
    graph = """g (float[B,4] x) => (float[B,6] y, float[6,4] z) {
        a = Transpose(W)
        b = Identity(W)
        [product] y = MatMul(x, b)
        [sum] z = Add(a, a)
    }"""
    source = tiny_model(graph, W=W).graph.initializers["W"]
    assert {(node.name, index) for node, index in uses_of_constant(source)} == {("product", 1), ("sum", 0), ("sum", 1)}
    assert not reaches_graph_output(source)


def test_a_scale_is_not_seen_through_what_it_scales() -> None:
    graph = """g (float[B,6] x) => (float[B,6] y) {
        [dequantize] d = DequantizeLinear <axis = 0, block_size = 2> (Q, S)
        [product] y = MatMul(x, S)
    }"""
    source = tiny_model(graph, Q=INT8, S=random_weight(2, 6)).graph.initializers["S"]
    assert {(node.name, index) for node, index in uses_of_constant(source)} == {("dequantize", 1), ("product", 1)}


def test_a_view_of_a_constant_may_be_a_graph_output() -> None:
    model = tiny_model("g (float[B,4] x) => (float[B,6] y, float[6,4] t) { t = Transpose(W)\n y = MatMul(x, W) }", W=W)
    assert reaches_graph_output(model.graph.initializers["W"])


@pytest.mark.parametrize(
    ("graph", "opset", "constants", "expected"),
    [
        pytest.param("[n] y = ReduceMean <axes = [1]> (x)", 17, {}, (1,), id="an attribute, as before opset 18"),
        pytest.param("[n] y = ReduceMean (x, a)", 18, {"a": np.array([-2, 1])}, (-2, 1), id="a constant operand"),
        pytest.param("[n] y = ReduceMean (x)", 18, {}, (), id="left out"),
    ],
)
def test_axes_of_a_reduction(graph: str, opset: int, constants: dict[str, Any], expected: tuple[int]) -> None:
    model = tiny_model(f"g (float[B,S,4] x) => (float[M] y) {{ {graph} }}", opset=opset, **constants)
    assert constant_axes(node_named(model, "n")) == expected


def test_axes_that_are_computed_are_unknown() -> None:
    model = tiny_model("g (float[B,S,4] x, int64[1] a) => (float[M] y) { [n] y = ReduceMean (x, a) }")
    assert constant_axes(node_named(model, "n")) == ()
