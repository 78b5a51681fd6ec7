"""What is no ONNX file is called by what it is, and the way to one is told."""

from pathlib import Path

import pytest

from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.support.errors import ModelError
from tests.tiny_models import matmul_model, write


@pytest.mark.parametrize("content", [b"x", b"\x08\x00\x12\x00", b"GGUF\x03"], ids=["cut", "a message", "other"])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "model.safetensors",
            "holds weights without a graph: export it with `optimum-cli export onnx -m {folder} DIR`",
        ),
        ("model.Q4.GGUF", "holds weights as llama.cpp reads them"),
        ("model.ort", "give the .onnx file that it was made of"),
        ("model.pb", "with tf2onnx"),
        ("model", "download or export it again"),
    ],
)
def test_by_name(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name} ")
    assert sentence.format(folder=tmp_path) in str(caught.value)


def test_an_onnx_file_may_have_any_name(tmp_path: Path) -> None:
    assert load_model(write(matmul_model(), tmp_path / "model.pb")).ir.graph


def test_a_folder_without_a_model_says_how_to_export_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"`optimum-cli export onnx -m {tmp_path} DIR`, and give DIR"):
        load_model(tmp_path)
