"""``optimize --precision`` on models that are float16 or bfloat16 already."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import RunCli
from tests.tiny_encoder import SENTENCES, encoder_model, outputs, write_model_folder

ROUNDING = ("int8", "int8-static", "int8-int4", "int4")
INTEGERS = frozenset({"MatMulInteger", "DequantizeLinear", "MatMulNBits", "GatherBlockQuantized"})


def in_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the float32 encoder with weights and products of bfloat16, and an interface of float32."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            entries = numpy_helper.to_array(tensor)
            tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.BFLOAT16, entries.shape, entries.ravel()))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.BFLOAT16
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
                entries = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(helper.make_tensor("", TensorProto.BFLOAT16, entries.shape, entries.ravel()))
    for output in model.graph.output:
        output.type.tensor_type.elem_type = TensorProto.BFLOAT16
    del model.graph.value_info[:]
    return model


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    write_model_folder(folder / "float32")
    write_model_folder(folder / "float16", encoder_model(dtype=np.float16))
    write_model_folder(folder / "bfloat16", in_bfloat16(encoder_model()))
    return folder


def optimize(call_cli: RunCli, work: Path, model: str, out: Path, *options: str, data: bool = True) -> str:
    given = ("--calibration", work / "text") if data else ()
    done = call_cli("optimize", work / model, "-o", out, "--method", "svd", "--keep", "0.5", *given, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def operators(folder: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)


@pytest.mark.parametrize("precision", ROUNDING)
def test_float16_is_rounded_like_float32(call_cli: RunCli, work: Path, tmp_path: Path, precision: str) -> None:
    told = optimize(call_cli, work, "float16", tmp_path / "out", "--precision", precision)
    assert "computed in float16: around its integers it computes in float32" in told
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    optimize(call_cli, work, "float32", tmp_path / "of float32", "--precision", precision)
    assert INTEGERS & operators(tmp_path / "out").keys()
    expected = json.loads((tmp_path / "of float32" / "report.json").read_text())["precision"]
    assert [site["name"] for site in report["precision"]["sites"]] == [site["name"] for site in expected["sites"]]
    found, reference = outputs(tmp_path / "out"), outputs(tmp_path / "of float32")
    assert found.dtype == np.float16
    assert np.abs(found - reference).mean() < 0.05 * np.abs(reference).mean()


def test_float16_in_float16_is_left_as_it_is(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    told = optimize(call_cli, work, "float16", tmp_path / "out", "--precision", "fp16")
    assert "float16 already: nothing was converted" in told
    optimize(call_cli, work, "float16", tmp_path / "plain")
    assert operators(tmp_path / "out") == operators(tmp_path / "plain")
    np.testing.assert_array_equal(outputs(tmp_path / "out"), outputs(tmp_path / "plain"))


@pytest.mark.parametrize("precision", ["int8", "int8-int4", "int4", "fp16"])
def test_bfloat16_is_converted_without_being_run(call_cli: RunCli, work: Path, tmp_path: Path, precision: str) -> None:
    optimize(call_cli, work, "bfloat16", tmp_path / "out", "--precision", precision, data=False)
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert [output.type.tensor_type.elem_type for output in model.graph.output] == [TensorProto.BFLOAT16]
    assert precision == "fp16" or INTEGERS & operators(tmp_path / "out").keys()
    onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])


def test_bfloat16_that_has_to_be_run_is_refused_by_name(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    options = ("--method", "svd", "--keep", "0.5", "--calibration", work / "text")
    done = call_cli("optimize", work / "bfloat16", "-o", tmp_path / "out", *options)
    assert done.returncode == 2
    assert "computes in bfloat16, which ONNX Runtime cannot run on the CPU" in done.stderr
    assert not (tmp_path / "out").exists()
    optimize(call_cli, work, "bfloat16", tmp_path / "out", data=False)


def test_a_model_without_a_weight_to_round_is_refused(call_cli: RunCli, tmp_path: Path) -> None:
    """What multiplies lies in the body of an If."""
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    value = helper.make_tensor_value_info
    inside = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["inner"], name="hidden")],
        "branch",
        [],
        [value("inner", 1, None)],
        [weight],
    )
    outside = numpy_helper.from_array(np.eye(64, dtype=np.float32), "v")
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True])),
        helper.make_node("If", ["yes"], ["h"], then_branch=inside, else_branch=inside),
        helper.make_node("FusedMatMul", ["h2", "v"], ["y"], domain="com.microsoft", name="v"),
    ]
    nodes.insert(2, helper.make_node("Concat", ["h"] * 16, ["h2"], axis=1))
    graph = helper.make_graph(nodes, "g", [value("x", 1, ["b", 4])], [value("y", 1, ["b", 64])], [outside])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    (tmp_path / "m").mkdir()
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m" / "model.onnx")
    options = (
        "--method",
        "svd",
        "--keep",
        "1.0",
        "--include",
        "other",
        "--include",
        "classifier",
        "--precision",
        "int8",
    )
    done = call_cli("optimize", tmp_path / "m", "-o", tmp_path / "out", *options)
    assert done.returncode == 2
    assert "--precision int8 finds no weight of a MatMul, Gemm or Gather to round" in done.stderr
    assert "lies in the body of an If" in done.stderr
    assert not (tmp_path / "out").exists()
