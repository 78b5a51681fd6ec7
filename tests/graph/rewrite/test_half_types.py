"""Graphs of half types compute in float32, with the interface that they had, and take no more bytes for what stays float."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from squeeze_onnx.graph.io.model import serialized_size
from squeeze_onnx.graph.rewrite.half_types import half_type_of, store_in_half, widen
from squeeze_onnx.runtime.sessions import open_session
from tests.compress.precision.tiny import block
from tests.graph.execution import run

KINDS = {TensorProto.FLOAT16: np.dtype(np.float16), TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}
HALVES = [pytest.param(kind, id=str(dtype)) for kind, dtype in KINDS.items()]
X = np.random.default_rng(0).standard_normal((2, 32))


def half_model(kind: int, interface: int, *nodes: onnx.NodeProto) -> ir.Model:
    """Return x ─► [Cast] ─► MatMul(w) ─► + constant ─► further ``nodes`` from z to last ─► [Cast] ─► y, z is an output too."""
    random = np.random.default_rng(1)
    weight = helper.make_tensor("w", kind, [32, 48], random.standard_normal(32 * 48))
    shift = helper.make_node("Constant", [], ["shift"], value=helper.make_tensor("", kind, [1], [0.5]), name="shift")
    rest = nodes or (helper.make_node("Identity", ["z"], ["last"]),)
    first = helper.make_node("Cast", ["x"], ["half_x"], to=kind, name="enter")
    graph = helper.make_graph(
        [
            shift,
            *([first] if interface != kind else []),
            helper.make_node("MatMul", ["x" if interface == kind else "half_x", "w"], ["h"], name="product"),
            helper.make_node("Add", ["h", "shift"], ["z"], name="sum"),
            *rest,
            helper.make_node("Cast", ["last"], ["y"], to=interface, name="leave"),
        ],
        "half",
        [helper.make_tensor_value_info("x", interface, ["b", 32])],
        [helper.make_tensor_value_info("y", interface, None), helper.make_tensor_value_info("z", kind, None)],
        [weight],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.serde.deserialize_model(proto)


def computed_types(model: ir.Model) -> set[ir.DataType | None]:
    interface = {*model.graph.inputs, *model.graph.outputs}
    values = [value for node in model.graph for value in node.outputs if value not in interface]
    return {value.dtype for value in (*values, *model.graph.initializers.values())} - {None}


@pytest.mark.parametrize("kind", HALVES)
@pytest.mark.parametrize("whole", [False, True], ids=["float32 outside", "half outside"])
def test_it_computes_in_float32_and_the_interface_stays(kind: int, whole: bool) -> None:
    model = half_model(kind, kind if whole else TensorProto.FLOAT)
    assert half_type_of(model) == kind
    before = [(value.name, value.dtype) for value in (*model.graph.inputs, *model.graph.outputs)]
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    expected = X.astype(KINDS[kind]).astype(np.float32) @ weight.numpy().astype(np.float32) + 0.5
    widen(model)
    assert [(value.name, value.dtype) for value in (*model.graph.inputs, *model.graph.outputs)] == before
    assert computed_types(model) == {ir.DataType.FLOAT}
    if kind == TensorProto.BFLOAT16:  # which numpy cannot hand to onnxruntime
        return
    session = open_session(ir.to_proto(model).SerializeToString())
    found = session.run(None, {"x": X.astype(np.float16 if whole else np.float32)})
    for output in found:
        np.testing.assert_allclose(output.astype(np.float32), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "nodes",
    [
        [
            helper.make_node("ConstantOfShape", ["size"], ["c"], value=helper.make_tensor("", 10, [1], [2.0])),
            helper.make_node("Mul", ["z", "c"], ["last"]),
        ],
        [helper.make_node("CastLike", ["z", "z"], ["last"])],
        [
            helper.make_node("Cast", ["z"], ["wide"], to=1),
            helper.make_node("Softmax", ["wide"], ["soft"]),
            helper.make_node("Cast", ["soft"], ["last"], to=10),
        ],
        [helper.make_node("RandomUniformLike", ["z"], ["r"], dtype=10), helper.make_node("Add", ["z", "r"], ["last"])],
        [
            helper.make_node(
                "If",
                ["yes"],
                ["last"],
                then_branch=helper.make_graph(
                    [
                        helper.make_node("Constant", [], ["two"], value=helper.make_tensor("", 10, [1], [2.0])),
                        helper.make_node("Mul", ["z", "two"], ["then"]),
                    ],
                    "then",
                    [],
                    [helper.make_tensor_value_info("then", 10, None)],
                ),
                else_branch=helper.make_graph(
                    [helper.make_node("Identity", ["z"], ["else"])],
                    "else",
                    [],
                    [helper.make_tensor_value_info("else", 10, None)],
                ),
            )
        ],
    ],
    ids=["a filled tensor", "a type by example", "an operator left in float32", "random numbers", "branches"],
)
def test_everything_that_names_the_type_follows(nodes: list[onnx.NodeProto]) -> None:
    constants = [
        helper.make_node("Constant", [], ["size"], value_ints=[48], name="size"),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True])),
    ]
    model = half_model(10, 10, *constants, *nodes)
    reference = open_session(ir.to_proto(model).SerializeToString()).run(None, {"x": X.astype(np.float16)})
    widen(model)
    found = open_session(ir.to_proto(model).SerializeToString()).run(None, {"x": X.astype(np.float16)})
    assert found[0].dtype == np.float16
    if not any(node.op_type == "RandomUniformLike" for node in nodes):
        np.testing.assert_allclose(found[0].astype(float), reference[0].astype(float), rtol=1e-2, atol=1e-2)


def test_what_stays_float_is_stored_in_half_again() -> None:
    model = half_model(10, 1)
    size = serialized_size(model)
    widen(model)
    assert serialized_size(model) > 1.5 * size
    expected = run(model, {"x": X.astype(np.float32)})
    store_in_half(model, ir.DataType.FLOAT16)
    assert serialized_size(model) < 1.2 * size
    np.testing.assert_array_equal(run(model, {"x": X.astype(np.float32)})[0], expected[0])


def test_what_half_cannot_hold_stays_float32() -> None:
    model = block()
    store_in_half(model, ir.DataType.FLOAT16)
    assert {value.dtype for value in model.graph.initializers.values()} == {ir.DataType.FLOAT}


def test_a_model_of_float32_has_no_half_type() -> None:
    assert half_type_of(block()) is None
