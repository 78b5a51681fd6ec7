from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from squeeze_onnx.graph.io.declarations import initializers_undeclared
from squeeze_onnx.graph.io.model import load_model, save_model
from tests.tiny_models import WEIGHT, matmul_model, value


def test_only_initializers_lose_their_declaration_and_only_for_a_while() -> None:
    proto = matmul_model()
    proto.graph.initializer.append(numpy_helper.from_array(WEIGHT[0], "given"))
    proto.graph.input.append(value("given", [4]))
    model = ir.from_proto(proto)
    with initializers_undeclared(model):
        inside = ir.to_proto(model)
    assert [info.name for info in inside.graph.value_info] == []
    assert [info.name for info in inside.graph.input] == ["x", "given"]
    assert inside.graph.input[1].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    weight = model.graph.initializers["W"]
    assert (weight.dtype, list(weight.shape or ())) == (ir.DataType.FLOAT, [8, 4])


def test_a_saved_model_can_be_quantized_by_onnxruntime(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    classifier = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(2, 4), "classifier")
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h"], name="linear"),
        helper.make_node("Gemm", ["h", "classifier"], ["y"], name="classifier", transB=1),
    ]
    onnx.save(matmul_model(numpy_helper.from_array(WEIGHT, "W"), classifier, nodes=nodes), tmp_path / "model.onnx")
    save_model(load_model(tmp_path / "model.onnx").ir, tmp_path / "saved.onnx")
    quantize_dynamic(tmp_path / "saved.onnx", tmp_path / "int8.onnx")
    assert "MatMulInteger" in {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
