"""External data must lie in the model's folder, be there, and be as long as its tensor."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from squeeze_onnx.graph.io.model import load_model, refuse_overwriting_input, save_model
from squeeze_onnx.support.errors import ModelError, OutputError
from tests.tiny_models import WEIGHT, external_tensor, full_model, matmul_model, write

DATA = WEIGHT.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, with something outside of it that must not be read."""
    (tmp_path / "secret.bin").write_bytes(DATA)
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "w.bin").write_bytes(DATA)
    return tmp_path / "model"


def load(folder: Path, location: str, **entries: str) -> npt.NDArray[Any]:
    model = load_model(write(matmul_model(external_tensor("W", location, **entries)), folder / "m.onnx"))
    weight = model.ir.graph.initializers["W"].const_value
    assert weight is not None
    return weight.numpy()


class TestAccepted:
    @pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/../w.bin", "link.bin", "linked/w.bin"])
    def test_a_file_in_the_folder_however_spelled(self, folder: Path, location: str) -> None:
        (folder / "link.bin").symlink_to("w.bin")
        (folder / "linked").symlink_to(folder)
        np.testing.assert_array_equal(load(folder, location), WEIGHT)

    def test_a_folder_reached_by_a_link(self, folder: Path) -> None:
        (folder.parent / "alias").symlink_to("model")
        np.testing.assert_array_equal(load(folder.parent / "alias", "w.bin"), WEIGHT)

    def test_links_into_the_folder_that_the_model_links_to(self, folder: Path, tmp_path: Path) -> None:
        """As the cache of huggingface_hub has it; a copy has files."""
        blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main" / "onnx"
        blobs.mkdir()
        snapshot.mkdir(parents=True)
        write(matmul_model(external_tensor("W", "./m.onnx_data")), blobs / "12ab")
        (blobs / "34cd").write_bytes(DATA)
        for name, blob in (("m.onnx", "12ab"), ("m.onnx_data", "34cd")):
            (snapshot / name).symlink_to(f"../../../blobs/{blob}")
        model = load_model(snapshot / "m.onnx")
        assert model.data_files == (snapshot / "m.onnx_data",)
        np.testing.assert_array_equal(model.ir.graph.initializers["W"].const_value.numpy(), WEIGHT)  # type: ignore[union-attr]
        with pytest.raises(OutputError, match="would replace the input"):
            refuse_overwriting_input(model, blobs)
        save_model(model.ir, tmp_path / "m.onnx", external_data=True)
        assert not any(path.is_symlink() for path in tmp_path.glob("m.onnx*"))

    def test_an_offset(self, folder: Path) -> None:
        (folder / "w.bin").write_bytes(b"\xff" * 5 + DATA)
        np.testing.assert_array_equal(load(folder, "w.bin", offset="5"), WEIGHT)


class TestLeadingOut:
    @pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "link.bin", "linked/secret.bin"])
    def test_by_dots_or_links(self, folder: Path, location: str) -> None:
        (folder / "link.bin").symlink_to("../secret.bin")
        (folder / "linked").symlink_to("..")
        with pytest.raises(ModelError, match="leads out of the model's folder"):
            load(folder, location)

    @pytest.mark.parametrize("target", ["../secret.bin", "../store/sub/w.bin"])
    def test_of_a_link_by_another_one_that_leads_further(self, folder: Path, target: str) -> None:
        store = folder.parent / "store"
        (store / "sub").mkdir(parents=True)
        (store / "sub" / "w.bin").write_bytes(DATA)
        write(matmul_model(external_tensor("W", "link.bin")), store / "m.onnx")
        (folder / "m.onnx").symlink_to("../store/m.onnx")
        (folder / "link.bin").symlink_to(target)
        with pytest.raises(ModelError, match="leads out of the model's folder"):
            load_model(folder / "m.onnx")

    def test_by_an_absolute_path_even_to_inside(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="a path relative to the model's folder"):
            load(folder, str(folder / "w.bin"))

    def test_by_a_windows_path(self, folder: Path) -> None:
        with pytest.raises(ModelError, match="a path relative to the model's folder"):
            load(folder, "C:\\secret.bin")

    def test_by_a_hard_link(self, folder: Path) -> None:
        (folder / "link.bin").hardlink_to(folder.parent / "secret.bin")
        with pytest.raises(ModelError, match="hard link"):
            load(folder, "link.bin")

    def test_in_a_constant_of_a_function(self, folder: Path) -> None:
        model = full_model()
        model.functions[0].node[0].attribute[0].t.CopyFrom(external_tensor("", "../secret.bin", WEIGHT[0]))
        with pytest.raises(ModelError, match=r"the tensor of node '' \(Constant\) in '../secret.bin'"):
            load_model(write(model, folder / "m.onnx"))


class TestUnusable:
    @pytest.mark.parametrize("location", ["gone.bin", "sub/gone.bin", "a\0b", "x" * 300, "w.bin/x"])
    def test_missing(self, folder: Path, location: str) -> None:
        with pytest.raises(ModelError, match=r"m\.onnx keeps tensor 'W' in .* which cannot be found"):
            load(folder, location)

    @pytest.mark.parametrize("location", ["", ".", "sub", "pipe.bin"])
    def test_not_a_file(self, folder: Path, location: str) -> None:
        os.mkfifo(folder / "pipe.bin")
        with pytest.raises(ModelError, match="is not a file"):
            load(folder, location)

    def test_unreadable(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda path, mode: False)
        with pytest.raises(ModelError, match="may not be read"):
            load(folder, "w.bin")

    @pytest.mark.parametrize(
        ("size", "offset"), [(127, 0), (0, 0), (128, 1), (128, 10**18)], ids=["short", "empty", "offset", "far offset"]
    )
    def test_too_short(self, folder: Path, size: int, offset: int) -> None:
        (folder / "w.bin").write_bytes(DATA[:size])
        with pytest.raises(
            ModelError, match=rf"needs {offset + 128} bytes of 'w.bin' for tensor 'W', but the file has {size}"
        ):
            load(folder, "w.bin", offset=str(offset))

    @pytest.mark.parametrize("length", ["127", "129", "0"])
    def test_another_length_than_the_tensors(self, folder: Path, length: str) -> None:
        with pytest.raises(ModelError, match=rf"{length} bytes of 'w.bin' where its type and shape need 128"):
            load(folder, "w.bin", length=length)

    @pytest.mark.parametrize("key", ["offset", "length"])
    @pytest.mark.parametrize("number", ["-1", "1e3", "0x80", "", "²", "9" * 5000])
    def test_not_a_number(self, folder: Path, key: str, number: str) -> None:
        with pytest.raises(ModelError, match=f"no usable {key}"):
            load(folder, "w.bin", **{key: number})


def test_a_missing_length_means_the_tensors(folder: Path) -> None:
    tensor = external_tensor("W", "w.bin")
    del tensor.external_data[1:]
    assert [entry.key for entry in tensor.external_data] == ["location"]
    model = load_model(write(matmul_model(tensor), folder / "m.onnx"))
    np.testing.assert_array_equal(model.ir.graph.initializers["W"].const_value.numpy(), WEIGHT)  # type: ignore[union-attr]
