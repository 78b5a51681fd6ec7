"""Reading .safetensors files, as the package of that name writes them."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from squeeze_onnx.data.safetensors import read_safetensors
from squeeze_onnx.support.errors import RepositoryError


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_tensors_of_floats_are_read_exactly(tmp_path: Path, dtype: type[np.generic]) -> None:
    tensors = {"a": np.arange(6).reshape(2, 3).astype(dtype), "b": np.array([0.5, -1.5]).astype(dtype)}
    save_file(tensors, tmp_path / "m.safetensors", {"format": "pt"})
    found = read_safetensors(tmp_path / "m.safetensors")
    assert {name: tensor.dtype for name, tensor in found.items()} == {"a": np.float64, "b": np.float64}
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor.astype(np.float64))


def spelled(header: object, content: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff" * 40, id="no header"),
        pytest.param(spelled([]), id="header of another kind"),
        pytest.param(spelled({"a": {"dtype": "F32", "shape": [2]}}), id="no place"),
        pytest.param(spelled({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}), id="cut off"),
        pytest.param(
            spelled({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}), id="too short for its shape"
        ),
        pytest.param(spelled({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}), id="before the start"),
        pytest.param(spelled({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}), id="no floats"),
        pytest.param(spelled({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}), id="negative size"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(RepositoryError, match=r"m\.safetensors is not a readable \.safetensors file of floats"):
        read_safetensors(tmp_path / "m.safetensors")
