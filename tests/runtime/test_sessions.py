import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.runtime.sessions import OptimizationLevel, SessionSettings, ValueSpec, open_session
from squeeze_onnx.support.errors import ModelError, OptionError, ProviderError

WEIGHT = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)


def matmul_model(op: str = "MatMul", domain: str = "") -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], domain=domain)],
        "one_node",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(matmul_model(), path)
    return path


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_a_model_runs_at_every_optimization_level(model_path: Path, level: OptimizationLevel) -> None:
    session = open_session(model_path, settings=SessionSettings(optimization_level=level, threads=1))
    x = np.array([[1, 1], [0, 2]], dtype=np.float32)
    [y] = session.run(["y"], {"x": x})
    np.testing.assert_array_equal(y, x @ WEIGHT)


def test_a_model_runs_from_bytes_and_gives_all_outputs_for_none() -> None:
    session = open_session(matmul_model().SerializeToString())
    [y] = session.run(None, {"x": np.eye(2, dtype=np.float32)})
    np.testing.assert_array_equal(y, WEIGHT)


def test_a_session_tells_its_inputs_and_outputs(model_path: Path) -> None:
    session = open_session(str(model_path))
    assert session.inputs == (ValueSpec("x", "tensor(float)", ("batch", 2)),)
    assert session.outputs == (ValueSpec("y", "tensor(float)", ("batch", 2)),)
    assert (session.label, session.provider) == (str(model_path), "cpu")


def assert_one_line(message: str) -> None:
    assert "\n" not in message
    assert "ONNXRuntimeError" not in message


def test_an_operator_unknown_to_onnxruntime_is_a_model_error_that_names_file_and_operator(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    onnx.save(matmul_model("Frobnicate", "example.odd"), path)
    with pytest.raises(ModelError, match=r"odd\.onnx.*Frobnicate") as caught:
        open_session(path)
    assert_one_line(str(caught.value))


@pytest.mark.parametrize("content", [b"not a model at all", b""], ids=["garbage", "an empty file"])
def test_a_file_that_is_no_model_is_a_model_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot open .*broken\.onnx on cpu") as caught:
        open_session(path)
    assert_one_line(str(caught.value))


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx"):
        open_session(tmp_path / "absent.onnx")


@pytest.mark.parametrize(
    "feeds",
    [{"x": np.ones((1, 3), np.float32)}, {"x": np.ones((1, 2), np.int64)}, {}],
    ids=["a wrong shape", "a wrong type", "no input"],
)
def test_a_run_that_fails_is_a_model_error_in_one_line(model_path: Path, feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx does not run on cpu: ") as caught:
        open_session(model_path).run(["y"], feeds)
    assert_one_line(str(caught.value))


def test_no_threads_are_refused(model_path: Path) -> None:
    with pytest.raises(OptionError, match="`threads` is a positive integer; got 0"):
        open_session(model_path, settings=SessionSettings(threads=0))


def test_an_unknown_optimization_level_is_refused(model_path: Path) -> None:
    with pytest.raises(OptionError, match="one of disabled, basic, extended, all; got 'most'"):
        open_session(model_path, settings=SessionSettings(optimization_level="most"))  # type: ignore[arg-type]


class GpuBuild(SimpleNamespace):
    """Stands in for onnxruntime-gpu on a machine where CUDA does not start."""

    def __init__(self, session: Any) -> None:
        class FailError(Exception):
            pass

        super().__init__(
            get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
            preload_dlls=lambda: print("a library is missing"),
            SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda key, value: None),
            GraphOptimizationLevel=SimpleNamespace(ORT_ENABLE_ALL=99),
            capi=SimpleNamespace(onnxruntime_pybind11_state=SimpleNamespace(Fail=FailError)),
            InferenceSession=session,
        )


def test_a_cuda_that_falls_back_to_the_cpu_is_an_error_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fallen_back = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", GpuBuild(lambda *_, **__: fallen_back))
    with pytest.raises(ProviderError, match=r"`provider` cuda: .* could not start .* CPUExecutionProvider"):
        open_session("model.onnx", "cuda")
    assert capsys.readouterr().out == ""


def test_a_cuda_that_raises_on_start_is_a_provider_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(*_: object, **options: object) -> None:
        assert options["enable_fallback"] == 0
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")

    monkeypatch.setitem(sys.modules, "onnxruntime", GpuBuild(no_device))
    with pytest.raises(ProviderError, match=r"`provider` cuda: .* CUDA failure 100"):
        open_session("model.onnx", "cuda")


@pytest.mark.cuda
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(), reason="this onnxruntime has no CUDA"
)
def test_cuda_and_cpu_agree_without_tf32(model_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
    [on_cpu] = open_session(model_path).run(["y"], {"x": x})
    [on_cuda] = open_session(model_path, "cuda", SessionSettings(use_tf32=False)).run(["y"], {"x": x})
    np.testing.assert_allclose(on_cuda, on_cpu, rtol=1e-6)
