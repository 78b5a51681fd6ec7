"""Integer products are right on the processors that they are written for."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.lowering import planned_precision
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.precision import PRECISIONS, TARGETS, Evidence, target_cpu, target_of
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.quantized.saturation import saturating_products
from squeeze_onnx.runtime.sessions import SessionSettings, open_session
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.processor import int8_products_saturate

WIDTH = 256
ROWS = (1 + np.random.default_rng(0).random((4, 8, WIDTH))).astype(np.float32)
"""Far from 0, so that all integers are large."""
BATCHES = tuple(CalibrationBatch({"x": ROWS[index : index + 1]}, None) for index in range(4))
INTEGERS = ("int8", "int8-static", "int8-int4")


def product() -> ir.Model:
    """Return x ─► up ─► Abs ─► down ─► y, all weights large."""
    random = np.random.default_rng(1)
    up, down = (random.choice([-1, 1, 0.9, -0.3], (WIDTH, WIDTH)).astype(np.float32) / WIDTH for _ in range(2))
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["h"], name="up"),
        helper.make_node("Abs", ["h"], ["a"], name="abs"),
        helper.make_node("MatMul", ["a", "down"], ["y"], name="down"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", "t", WIDTH]) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(up, "up"), numpy_helper.from_array(down, "down")]
    graph = helper.make_graph(nodes, "product", values[:1], values[1:], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.serde.deserialize_model(proto)


def lowered(precision: str, target: str) -> ir.Model:
    return PRECISIONS[precision]().lower(product(), Evidence(BATCHES, (), target=TARGETS[target])).model


def outputs(model: ir.Model, *, exactly: bool = False) -> np.ndarray:
    session = open_session(ir.to_proto(model).SerializeToString(), settings=SessionSettings(precise_integers=exactly))
    found: np.ndarray = session.run(None, {"x": ROWS})[0]
    return found


def moved_by_saturation(model: ir.Model) -> float:
    exact = outputs(model, exactly=True)
    return float(np.linalg.norm(outputs(model) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("precision", INTEGERS)
@pytest.mark.parametrize("target", ["any", "avx2", "avx512"])
def test_nothing_saturates_where_it_could(precision: str, target: str) -> None:
    model = lowered(precision, target)
    assert saturating_products(model) == ()
    assert moved_by_saturation(model) < 1e-6


@pytest.mark.parametrize("precision", INTEGERS)
def test_the_whole_range_is_for_processors_that_add_up_in_32_bits(precision: str) -> None:
    model = lowered(precision, "vnni")
    assert len(saturating_products(model)) == 2
    assert moved_by_saturation(model) > 0.1 or not int8_products_saturate()
    wider, narrower = (
        np.abs(outputs(each, exactly=True) - outputs(product())).mean() for each in (model, lowered(precision, "any"))
    )
    assert wider < narrower


def test_constant_ranges_for_arm_are_signed() -> None:
    model = lowered("int8-static", "arm64")
    kinds = {node.inputs[2].dtype for node in model.graph if node.op_type == "QuantizeLinear" and node.inputs[2]}
    assert kinds == {ir.DataType.INT8}
    assert np.abs(outputs(model, exactly=True) - outputs(product())).max() < 0.05 * np.abs(outputs(product())).max()


@pytest.mark.parametrize(
    ("saturates", "machine", "name"),
    [(True, "x86_64", "avx2"), (False, "x86_64", "vnni"), (False, "arm64", "arm64"), (False, "aarch64", "arm64")],
)
def test_this_processor_is_one_of_the_others(
    saturates: bool, machine: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_cpu, "int8_products_saturate", lambda: saturates)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert target_of("this").name == name
    config = OptimizeConfig(precision="int8", target_cpu="this")
    assert planned_precision(None, config) == PlannedPrecision("int8", target_cpu=name)


class TestThePlan:
    PLAN = Plan("svd", {}, (), precision=PlannedPrecision("int8", ("head",), "vnni"))

    def test_says_it_unless_something_else_is_asked_for(self) -> None:
        assert planned_precision(self.PLAN, OptimizeConfig()) == self.PLAN.precision
        other = planned_precision(self.PLAN, OptimizeConfig(target_cpu="avx2"))
        assert other == replace(self.PLAN.precision, target_cpu="avx2")
        assert planned_precision(self.PLAN, OptimizeConfig(precision="int8-static")).target_cpu == "vnni"

    def test_with_an_unknown_one_is_refused(self) -> None:
        plan = replace(self.PLAN, precision=PlannedPrecision("int8", target_cpu="z80"))
        with pytest.raises(OptionError, match="'z80' is unknown; known are any, avx2"):
            planned_precision(plan, OptimizeConfig())


def test_without_a_word_all_processors_count() -> None:
    assert planned_precision(None, OptimizeConfig(precision="int8")).target_cpu == "any"


@pytest.mark.parametrize("precision", [None, "fp32", "fp16"])
def test_a_precision_without_integer_products_is_refused(precision: str | None) -> None:
    with pytest.raises(OptionError, match="`target_cpu` vnni is about products of integers, and fp"):
        planned_precision(None, OptimizeConfig(precision=precision, target_cpu="vnni"))


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(OptionError, match="`target_cpu` is one of this, any, avx2, avx512, vnni, arm64; got 'sse'"):
        OptimizeConfig(precision="int8", target_cpu="sse")
