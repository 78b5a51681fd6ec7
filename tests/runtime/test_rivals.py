import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from squeeze_onnx.runtime import rivals
from squeeze_onnx.runtime.rivals import RIVALS, build_rival
from squeeze_onnx.support.errors import MissingPackageError, ModelError
from tests.folders import snapshot
from tests.tiny_encoder import batch, outputs, write_model_folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model") / "model.onnx"


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(("kind", "tolerance"), [("int8", 0.2), ("fused", 1e-4)])
def test_a_rival_computes_what_the_model_does(model: Path, tmp_path: Path, kind: str, tolerance: float) -> None:
    before = snapshot(model.parent)
    rival = build_rival(kind, model, tmp_path)
    session = onnxruntime.InferenceSession(rival, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, batch())[0], outputs(model.parent), rtol=0, atol=tolerance)
    assert snapshot(model.parent) == before


def test_int8_quantizes_the_products_and_the_embedding(model: Path, tmp_path: Path) -> None:
    rival = build_rival("int8", model, tmp_path)
    assert operators(rival)["MatMulInteger"] == 12
    [table] = [tensor for tensor in onnx.load(rival).graph.initializer if tensor.name == "embedding.weight_quantized"]
    assert table.data_type in {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def test_int8_takes_a_fused_model_too(model: Path, tmp_path: Path) -> None:
    assert operators(build_rival("int8", build_rival("fused", model, tmp_path), tmp_path))["MatMulInteger"] > 0


def test_fused_fuses(model: Path, tmp_path: Path) -> None:
    assert operators(build_rival("fused", model, tmp_path)) >= Counter(SkipLayerNormalization=4, BiasGelu=2)


def test_building_is_silent(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for kind in RIVALS:
        build_rival(kind, model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_without_sympy_there_is_one_sentence_that_names_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"--against fused .* pip install sympy"):
        build_rival("fused", model, tmp_path)


def test_nor_is_there_more_without_torch_where_onnxruntime_wants_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WantsTorch:
        def __getattr__(self, name: str) -> object:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setitem(sys.modules, "onnxruntime.transformers", WantsTorch())
    with pytest.raises(MissingPackageError, match=r"--against fused .* pip install torch"):
        build_rival("fused", model, tmp_path)


def test_a_model_that_the_tool_cannot_take_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise ValueError("no\nuse")

    monkeypatch.setitem(RIVALS, "int8", fail)
    with pytest.raises(ModelError, match=r"--against int8: onnxruntime's tool fails on .*model\.onnx: no use"):
        build_rival("int8", tmp_path / "model.onnx", tmp_path)
