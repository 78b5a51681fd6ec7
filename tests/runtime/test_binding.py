from typing import Any

import numpy as np
import onnxruntime
import pytest

from squeeze_onnx.runtime.binding import bind_run
from squeeze_onnx.runtime.sessions import Session, open_session
from squeeze_onnx.support.errors import ModelError
from tests.tiny_models import WEIGHT, matmul_model

X = np.arange(16, dtype=np.float32).reshape(2, 8)


class Options:
    """RunOptions that can be read where nothing was set."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class Recorder:
    """An onnxruntime session that keeps the binding it hands out and the options of each run."""

    def __init__(self) -> None:
        self.session = open_session(matmul_model().SerializeToString())
        self.entries: list[dict[str, str]] = []

    def io_binding(self) -> Any:
        self.binding = self.session.ort.io_binding()
        return self.binding

    def run_with_iobinding(self, binding: Any, options: Options) -> None:
        self.entries.append(options.entries)
        self.session.ort.run_with_iobinding(binding)

    def as_session(self) -> Session:
        return Session("model.onnx", "cpu", self.session.inputs, self.session.outputs, self)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(onnxruntime, "RunOptions", Options)
    return Recorder()


def test_every_run_computes_the_outputs_into_the_same_memory(recorder: Recorder) -> None:
    run = bind_run(recorder.as_session(), {"x": X})
    addresses = []
    for _ in range(2):
        run()
        [output] = recorder.binding.get_outputs()
        np.testing.assert_array_equal(output.numpy(), X @ WEIGHT)
        addresses.append(output.data_ptr())
    assert addresses[0] == addresses[1]
    assert recorder.entries == [{}, {}, {}]


def test_a_cuda_graph_is_captured_only_once_the_memory_of_the_outputs_is_fixed(recorder: Recorder) -> None:
    bind_run(recorder.as_session(), {"x": X}, graph_id=3)()
    assert recorder.entries == [{"gpu_graph_id": "-1"}, {"gpu_graph_id": "3"}]


def test_a_model_that_does_not_run_is_a_model_error() -> None:
    session = open_session(matmul_model().SerializeToString())
    with pytest.raises(ModelError, match="the model in memory does not run on cpu"):
        bind_run(session, {"x": X[:, :3]})


def test_inputs_need_not_be_contiguous() -> None:
    session = open_session(matmul_model().SerializeToString())
    bind_run(session, {"x": np.asfortranarray(X)})()
