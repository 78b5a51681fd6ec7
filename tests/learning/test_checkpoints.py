from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.learning.checkpoints import Checkpoint, CheckpointConfig
from squeeze_onnx.support.errors import OptionError


def test_gives_back_what_was_saved_last(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.npz", "this run")
    assert checkpoint.load() is None
    for step in (1, 2):
        checkpoint.save({"step": np.array(step), "parameters": np.arange(3.0)})
    state = Checkpoint(tmp_path / "state.npz", "this run").load()
    assert state is not None
    assert (int(state["step"]), state["parameters"].tolist(), len(state)) == (2, [0, 1, 2], 2)
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_refuses_minutes_below_zero() -> None:
    with pytest.raises(OptionError, match="`checkpoint_minutes` is a number of minutes, 0 or more; got -1"):
        CheckpointConfig(Path("state.npz"), minutes=-1)


def test_refuses_another_run_and_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    Checkpoint(path, "this run").save({"step": np.array(1)})
    with pytest.raises(OptionError, match=r"state\.npz belongs to a run on other data, another model or other options"):
        Checkpoint(path, "another run").load()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OptionError, match=r"state\.npz cannot be read .*: delete it to start anew"):
        Checkpoint(path, "this run").load()
