from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from squeeze_onnx.runtime import memory
from squeeze_onnx.runtime.memory import measure_peak_memory
from squeeze_onnx.runtime.runner import RunnerOptions
from squeeze_onnx.support.errors import MachineError, ModelError
from tests.tiny_models import matmul_model

OPTIONS = RunnerOptions(threads=1)
FEEDS = {"x": np.ones((1, 8), np.float32)}

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")


def test_a_large_weight_takes_its_bytes_whatever_this_process_holds(tmp_path: Path) -> None:
    here = np.ones(400_000_000 // 8)
    weight = np.ones((8, 5_000_000), np.float32)
    for name, entries in {"small": weight[:, :4], "large": weight}.items():
        onnx.save(matmul_model(numpy_helper.from_array(entries, "W")), tmp_path / f"{name}.onnx")
    small, large = (measure_peak_memory(tmp_path / f"{name}.onnx", OPTIONS, FEEDS) for name in ("small", "large"))
    assert weight.nbytes < large - small < 4 * weight.nbytes
    assert small < here.nbytes


def test_a_model_that_does_not_run_is_a_model_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"memory of .*absent\.onnx cannot be measured: .*absent\.onnx"):
        measure_peak_memory(tmp_path / "absent.onnx", OPTIONS, FEEDS)


@pytest.mark.parametrize("name", ["file", "args"])
def test_an_input_may_be_called_like_a_parameter_of_numpy(tmp_path: Path, name: str) -> None:
    model = matmul_model()
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    onnx.save(model, tmp_path / "model.onnx")
    assert measure_peak_memory(tmp_path / "model.onnx", OPTIONS, {name: FEEDS["x"]}) >= 0


def test_a_system_that_does_not_tell_says_what_to_leave_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "absent")
    with pytest.raises(MachineError, match="add `memory=False`"):
        memory._resident_bytes("VmHWM")
