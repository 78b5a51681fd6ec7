import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from squeeze_onnx.runtime import rivals
from squeeze_onnx.runtime.rivals import RIVALS, Rival, build_rival, check_rivals
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.errors import MissingPackageError, ModelError, OptionError
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
    [rival] = build_rival(kind, model, tmp_path)
    session = onnxruntime.InferenceSession(rival, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, batch())[0], outputs(model.parent), rtol=0, atol=tolerance)
    assert snapshot(model.parent) == before


def test_int8_quantizes_the_products_and_the_embedding(model: Path, tmp_path: Path) -> None:
    [rival] = build_rival("int8", model, tmp_path)
    assert operators(rival)["MatMulInteger"] == 12
    [table] = [tensor for tensor in onnx.load(rival).graph.initializer if tensor.name == "embedding.weight_quantized"]
    assert table.data_type in {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def test_int8_takes_a_fused_model_too(model: Path, tmp_path: Path) -> None:
    [fused] = build_rival("fused", model, tmp_path)
    assert operators(build_rival("int8", fused, tmp_path)[0])["MatMulInteger"] > 0


def test_fused_fuses(model: Path, tmp_path: Path) -> None:
    assert operators(build_rival("fused", model, tmp_path)[0]) >= Counter(SkipLayerNormalization=4, BiasGelu=2)


def test_building_is_silent(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for kind in RIVALS:
        build_rival(kind, model, tmp_path, [batch()])
    assert capfd.readouterr() == ("", "")


def test_without_sympy_there_is_one_sentence_that_names_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"`against` fused .* pip install sympy"):
        build_rival("fused", model, tmp_path)


def test_without_openvino_there_is_one_sentence_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda name: None if name == "nncf" else object())
    check_rivals(["int8", "fused"], "cpu")
    with pytest.raises(
        MissingPackageError,
        match=r"^`against` openvino needs nncf, which is not installed: pip install 'squeeze-onnx\[openvino\]'$",
    ):
        check_rivals(["int8", "openvino"], "cpu")


def test_openvino_is_no_opponent_on_cuda() -> None:
    with pytest.raises(OptionError, match="`against` openvino is timed on the CPU; leave it out"):
        check_rivals(["openvino"], "cuda")


@pytest.mark.parametrize(("saturates", "bits"), [(True, 7), (False, 8)])
def test_int8_has_as_many_bits_as_the_processor_can_add_up(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saturates: bool, bits: int
) -> None:
    monkeypatch.setattr(rivals, "int8_products_saturate", lambda: saturates)
    [rival] = build_rival("int8", model, tmp_path)
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(rival).graph.initializer
        if tensor.name.endswith("weight_quantized") and "embedding" not in tensor.name
    ]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) <= 2 ** (bits - 1)
    assert max(np.abs(weight.astype(int)).max() for weight in weights) > 2 ** (bits - 1) - 3
    assert (RIVALS["int8"].remark() is not None) is saturates


def test_nor_is_there_more_without_torch_where_onnxruntime_wants_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WantsTorch:
        def __getattr__(self, name: str) -> object:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setitem(sys.modules, "onnxruntime.transformers", WantsTorch())
    with pytest.raises(MissingPackageError, match=r"`against` fused .* pip install torch"):
        build_rival("fused", model, tmp_path)


def test_a_model_that_the_tool_cannot_take_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path, feeds: Sequence[Feeds]) -> None:
        raise ValueError("no\nuse")

    monkeypatch.setitem(RIVALS, "int8", Rival(fail))
    with pytest.raises(ModelError, match=r"`against` int8: onnxruntime's tool fails on .*model\.onnx: no use"):
        build_rival("int8", tmp_path / "model.onnx", tmp_path)
