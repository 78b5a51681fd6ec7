"""A pointer of Git LFS is told by its name wherever a file is read: as text it would be three sentences."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from squeeze_onnx.data.json_files import read_json
from squeeze_onnx.data.packed_text import read_packed
from squeeze_onnx.data.safetensors import read_safetensors
from squeeze_onnx.data.tokenizer_files import load_tokenizer
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.support.errors import InputError
from tests.tiny_encoder import encoder_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


READERS: dict[str, Callable[[Path], object]] = {
    "texts.txt": read_packed,
    "rows.jsonl": read_packed,
    "config.json": read_json,
    "model.safetensors": read_safetensors,
    "tokenizer.json": load_tokenizer,
    "model.onnx": load_model,
}


@pytest.mark.parametrize("name", READERS)
def test_it_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(POINTER)
    with pytest.raises(InputError, match=rf"{name} is a Git LFS pointer, not the (file|model) itself: .*git lfs pull"):
        READERS[name](path)


def test_so_is_one_in_place_of_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(encoder_model(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_text(POINTER)
    with pytest.raises(InputError, match=r"weights\.bin is a Git LFS pointer"):
        load_model(path)
