"""Options about what a model file is taken as."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx import AnalyzeConfig, OptimizeConfig, squeeze
from squeeze_onnx.compress.preparing import open_model
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.workflows.optimize import analyze, optimize
from tests.graph.execution import run
from tests.tiny_encoder import ELIGIBLE_SITES, encoder_model, outputs, write_model_folder
from tests.tiny_models import WEIGHT, matmul_model, value, write


def with_weights_as_inputs() -> onnx.ModelProto:
    """The encoder as IR version 3 wants it."""
    model = encoder_model()
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return model


class TestFreezingInputs:
    def test_weights_that_are_inputs_can_be_squeezed(self, tmp_path: Path) -> None:
        folder = write_model_folder(tmp_path / "model", with_weights_as_inputs())
        frozen = OptimizeConfig(method="svd", keep=1.0, freeze_inputs=True)
        with pytest.raises(ModelError, match="`freeze_inputs` makes it a constant"):
            optimize(folder, tmp_path / "out", OptimizeConfig(method="svd"))
        report = optimize(folder, tmp_path / "out", frozen)
        assert [site["name"] for site in report["sites"]] == list(ELIGIBLE_SITES)
        written = onnx.load(tmp_path / "out" / "model.onnx")
        assert [each.name for each in written.graph.input] == ["input_ids", "attention_mask"]
        onnx.checker.check_model(written, full_check=True)
        np.testing.assert_allclose(outputs(tmp_path / "out"), outputs(folder), rtol=0, atol=1e-4)

    def test_a_weight_in_a_node_of_an_old_model_is_factored_into_a_valid_one(self, tmp_path: Path) -> None:
        """IR version 3 knows no initializers but those of inputs."""
        constant = helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(WEIGHT))
        nodes = [constant, helper.make_node("MatMul", ["x", "W"], ["y"], name="linear")]
        graph = helper.make_graph(nodes, "old", [value("x", ["b", 8])], [value("y", ["b", 4])])
        old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=3)
        model = load_model(write(old, tmp_path / "model.onnx"))
        squeeze(model, OptimizeConfig(method="svd", keep=0.9, include=("classifier",)))
        feeds = {"x": np.eye(8, dtype=np.float32)}
        np.testing.assert_allclose(run(model.ir, feeds)[0], WEIGHT, rtol=0, atol=1e-4)  # of rank 2
        assert model.ir.ir_version == 4


class TestDequantizing:
    @pytest.fixture
    def quantized(self, tmp_path: Path) -> Path:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        folder = write_model_folder(tmp_path / "int8")
        quantize_dynamic(encoder_model(), folder / "model.onnx", weight_type=QuantType.QInt8)
        return folder

    def test_analyze_sees_what_the_integers_stand_for(self, quantized: Path) -> None:
        with pytest.raises(ModelError, match="`dequantize` turns"):
            analyze(quantized)
        report = analyze(quantized, AnalyzeConfig(simulations=1, dequantize=True))
        assert not any("`dequantize` turns" in site["reason"] for site in report["skipped"])
        assert [site["name"] for site in report["sites"] if site["layer"] is not None] == list(ELIGIBLE_SITES)

    def test_optimize_squeezes_and_rounds_again(self, quantized: Path, tmp_path: Path) -> None:
        again = OptimizeConfig(method="svd", keep=0.6, dequantize=True, precision="int8")
        report = optimize(quantized, tmp_path / "out", again)
        assert report["size"]["baseline_bytes"] == (quantized / "model.onnx").stat().st_size
        assert {site["rank"] is not None for site in report["sites"]} == {True}
        operators = {node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node}
        assert {"MatMulInteger", "DynamicQuantizeLinear"} <= operators
        float_folder = write_model_folder(tmp_path / "float")
        optimize(float_folder, tmp_path / "of float", OptimizeConfig(method="svd", keep=0.6, precision="int8"))
        found, expected = outputs(tmp_path / "out"), outputs(tmp_path / "of float")
        assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)

    def test_what_comes_as_integers_leaves_as_integers_unless_floats_are_asked_for(
        self, quantized: Path, tmp_path: Path
    ) -> None:
        config = OptimizeConfig(method="svd", keep=0.6, dequantize=True)
        report = optimize(quantized, tmp_path / "out", config)
        assert report["precision"]["name"] == "int8"
        as_floats = optimize(quantized, tmp_path / "floats", replace(config, precision="fp32"))
        assert report["size"]["optimized_bytes"] < 0.8 * as_floats["size"]["optimized_bytes"]

    def test_both_in_python_too(self, quantized: Path) -> None:
        model = load_model(quantized)
        result = squeeze(model, OptimizeConfig(method="svd", keep=0.6, dequantize=True))
        assert [site.name for site in result.plan.sites] == list(ELIGIBLE_SITES)

    def test_fused_operators_are_counted_against_the_dequantized_model(self, quantized: Path, tmp_path: Path) -> None:
        report = optimize(quantized, tmp_path / "out", OptimizeConfig(method="svd", dequantize=True, fuse="cpu"))
        assert report["fused"]["Attention"] == {"dense": 2, "squeezed": 2}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"freeze_inputs": True}, "`freeze_inputs` has nothing to do in this model, where no weight is a graph input"),
        ({"dequantize": True}, "`dequantize` has nothing to do in this model, where no weight is stored as integers"),
    ],
    ids=["freeze_inputs", "dequantize"],
)
def test_what_is_asked_for_and_has_nothing_to_do_is_refused(tmp_path: Path, asked: dict[str, Any], reason: str) -> None:
    write(matmul_model(), tmp_path / "model.onnx")
    with pytest.raises(OptionError, match=reason):
        open_model(tmp_path, AnalyzeConfig(**asked))


def test_fusing_is_refused_where_there_is_nothing_to_fuse(tmp_path: Path) -> None:
    write(matmul_model(), tmp_path / "model.onnx")
    asked = OptimizeConfig(method="svd", keep=0.9, include=("classifier",), fuse="cpu")
    with pytest.raises(OptionError, match=r"`fuse` cpu has nothing to do in .*model\.onnx: no attention"):
        optimize(tmp_path, tmp_path / "out", asked)
    assert not (tmp_path / "out").exists()


def test_nothing_happens_without_being_asked_for(tmp_path: Path) -> None:
    write(matmul_model(), tmp_path / "model.onnx")
    model = open_model(tmp_path, AnalyzeConfig())
    assert [site.name for site in find_sites(model.ir).sites] == ["linear"]
