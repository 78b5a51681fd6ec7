"""Arrays on disk, batch by batch."""

from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.learning.array_files import ArrayFiles
from squeeze_onnx.support.errors import MachineError


def test_returns_what_was_written_by_any_name(tmp_path: Path) -> None:
    files = ArrayFiles(tmp_path / "kept")
    arrays: dict[str, np.ndarray] = {
        "file": np.arange(3),
        "/layer.0/Add": np.ones((2, 2), np.float32),
        "/layer.0/Add.npy": np.array(True),
    }
    files.write(0, arrays)
    files.write(1, {"file": np.array(7)})
    found = files.read(0, list(arrays))
    assert all(
        np.array_equal(found[name], array) and found[name].dtype == array.dtype for name, array in arrays.items()
    )
    assert files.read(1, ["file"])["file"] == 7


def test_replaces_a_batch_by_values_of_other_names(tmp_path: Path) -> None:
    files = ArrayFiles(tmp_path)
    files.write(0, {"a": np.array(1), "b": np.array(2)})
    files.write(0, {"c": np.array(3), "b": np.array(4)})
    assert files.read(0, ["b", "c"]) == {"b": 4, "c": 3}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
def test_on_a_full_disk_says_which_and_what_to_do(tmp_path: Path) -> None:
    files = ArrayFiles(tmp_path)
    (tmp_path / "0.npz").symlink_to("/dev/full")
    with pytest.raises(MachineError, match=rf"{tmp_path} has no room .* \(No space left on device\): lower .* TMPDIR"):
        files.write(0, {"a": np.ones(100_000)})
