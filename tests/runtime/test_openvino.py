"""OpenVINO in processes of its own: what is converted computes what the model did, and nothing is sent or left behind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.runtime.openvino_conversion import convert_int8
from squeeze_onnx.runtime.runner import RunnerOptions
from squeeze_onnx.runtime.timing_process import TimingProcess
from squeeze_onnx.support.errors import ModelError, OptionError
from tests.folders import snapshot
from tests.tiny_encoder import batch, outputs, write_model_folder

_ANSWER = """
import sys
import numpy
from squeeze_onnx.runtime.openvino import import_openvino
compiled = import_openvino().Core().compile_model(sys.argv[1], "CPU")
numpy.save(sys.argv[3], compiled(dict(numpy.load(sys.argv[2])))[0])
assert "openvino_telemetry.main" not in sys.modules
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("openvino") / "model") / "model.onnx"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def converted(model: Path, home: Path) -> Path:
    target = model.parent.parent / "converted.xml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("CI", "NNCF_CI", "NNCF_DEV"):
            patch.delenv(name, raising=False)
        convert_int8(model, target, [batch()])
    return target


def test_what_is_converted_computes_what_the_model_does(model: Path, converted: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "feeds.npz", **batch())  # type: ignore[arg-type]
    answers = tmp_path / "answers.npy"
    command: list[str | Path] = [sys.executable, "-c", _ANSWER, converted, tmp_path / "feeds.npz", answers]
    subprocess.run(command, check=True, timeout=300)
    found, wanted = np.load(answers), outputs(model.parent)
    assert np.linalg.norm(found - wanted) < 0.1 * np.linalg.norm(wanted)
    assert "i8" in converted.read_text(encoding="utf-8")


def test_nothing_is_kept_about_the_user(converted: Path, home: Path) -> None:
    assert converted.exists()
    assert snapshot(home) == {}


def test_it_is_timed_like_any_other_model(converted: Path) -> None:
    with TimingProcess("mine", converted, "openvino", RunnerOptions(threads=1)) as process:
        assert {(each.name, each.type) for each in process.inputs} == {
            ("input_ids", "tensor(int64)"),
            ("attention_mask", "tensor(int64)"),
        }
        process.bind(batch())
        assert min(process.turn(2)) > 0


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be converted for OpenVINO: "):
        convert_int8(path, tmp_path / "target.xml", [batch()])
    with pytest.raises(ModelError, match=r"OpenVINO cannot open .*broken\.onnx: "):
        TimingProcess("mine", path, "openvino", RunnerOptions())


def test_operators_that_openvino_lacks_are_named(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Fly", ["x"], ["y"], domain="no.such.domain")
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "graph", value[:1], value[1:])
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("no.such.domain", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=9), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be converted for OpenVINO: .*Fly"):
        convert_int8(tmp_path / "model.onnx", tmp_path / "target.xml", [{"x": np.ones((1, 2), np.float32)}])


def test_it_runs_on_the_processor_only(converted: Path) -> None:
    with pytest.raises(OptionError, match="OpenVINO is timed on the CPU; leave out `provider` cuda"):
        TimingProcess("mine", converted, "openvino", RunnerOptions(provider="cuda"))
