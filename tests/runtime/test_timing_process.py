import os
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.runtime.runner import RunnerOptions
from squeeze_onnx.runtime.sessions import ValueSpec, open_session
from squeeze_onnx.runtime.timing_process import TimingProcess
from squeeze_onnx.support.errors import MachineError, ModelError, OptionError
from tests.tiny_models import matmul_model

OPTIONS = RunnerOptions(threads=1)
FEEDS = {"x": np.ones((1, 8), np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(matmul_model(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_model_is_open_and_timed_in_another_process(model: Path) -> None:
    with TimingProcess("mine", model, "onnxruntime", OPTIONS) as process:
        assert process.number != os.getpid()
        assert process.inputs == open_session(model).inputs
        assert isinstance(process.inputs[0], ValueSpec)
        assert process.facts["name"] == "onnxruntime"
        assert "CPUExecutionProvider" in process.facts["provider_options"]
        for rows in (1, 3):
            process.bind({"x": np.ones((rows, 8), np.float32)})
            times = process.turn(4)
            assert len(times) == 4
            assert min(times) > 0


def test_a_broken_model_is_named_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"onnxruntime cannot open .*broken\.onnx on cpu: "):
        TimingProcess("mine", path, "onnxruntime", OPTIONS)


def test_inputs_that_do_not_fit_are_named(model: Path) -> None:
    with TimingProcess("mine", model, "onnxruntime", OPTIONS) as process:
        with pytest.raises(ModelError, match=r"model\.onnx does not run on cpu: "):
            process.bind({"x": np.ones((1, 5), np.float32)})
        process.bind(FEEDS)
        assert len(process.turn(1)) == 1


def test_a_process_that_is_killed_between_turns_is_named_by_its_model(model: Path) -> None:
    with TimingProcess("mine", model, "onnxruntime", OPTIONS) as process:
        process.bind(FEEDS)
        os.kill(process.number, signal.SIGKILL)
        with pytest.raises(MachineError, match=r"^the process that times mine was ended by SIGKILL"):
            process.turn(1)


def test_a_wrong_option_is_told_as_by_a_session(model: Path) -> None:
    with pytest.raises(OptionError, match="`threads` is a positive integer; got 0"):
        TimingProcess("mine", model, "onnxruntime", RunnerOptions(threads=0))
