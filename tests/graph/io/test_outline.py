"""Files whose large weights are left in them: what is parsed, and that nothing else of a model changes."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from squeeze_onnx.graph.io import outline
from squeeze_onnx.graph.io.external_data import DataFileTensor
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.io.outline import LEFT_BYTES, parse_outline
from squeeze_onnx.support.errors import ModelError, OutputError
from tests.tiny_models import matmul_model, write

LARGE = np.random.default_rng(0).standard_normal((8, LEFT_BYTES // 32 + 1)).astype(np.float32)
"""Just above the limit, in float32."""


def large_model(*others: onnx.TensorProto) -> onnx.ModelProto:
    return matmul_model(numpy_helper.from_array(LARGE, "W"), *others)


def references(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    return {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }


def test_large_weights_become_references_to_where_they_lie() -> None:
    content = large_model(numpy_helper.from_array(LARGE[:2], "small")).SerializeToString()
    found = parse_outline(content, "m.onnx")
    place = references(found)["W"]
    start, length = int(place["offset"]), int(place["length"])
    assert place["location"] == "m.onnx"
    assert content[start : start + length] == LARGE.tobytes()
    assert found.ByteSize() < len(content) - LARGE.nbytes + 100
    assert list(references(found)) == ["W"]


def test_all_else_is_as_it_was() -> None:
    model = large_model(numpy_helper.from_array(LARGE[:2], "small"))
    model.graph.initializer[0].doc_string = "text"
    model.metadata_props.add(key="who", value="me")
    found = parse_outline(model.SerializeToString(), "m.onnx")
    for tensor in found.graph.initializer:
        if tensor.name == "W":
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
            tensor.raw_data = LARGE.tobytes()
    assert found == model


@pytest.mark.parametrize(
    "tensor",
    [
        onnx.helper.make_tensor("W", onnx.TensorProto.FLOAT, LARGE.shape, LARGE.ravel()),
        onnx.TensorProto(name="W", data_type=onnx.TensorProto.STRING, dims=[1], raw_data=b"x" * LEFT_BYTES),
        onnx.TensorProto(
            name="W",
            data_type=onnx.TensorProto.FLOAT,
            raw_data=LARGE.tobytes(),
            data_location=onnx.TensorProto.EXTERNAL,
        ),
    ],
    ids=["typed", "strings", "external"],
)
def test_what_is_no_plain_weight_is_not_touched(tensor: onnx.TensorProto) -> None:
    model = matmul_model(tensor)
    assert parse_outline(model.SerializeToString(), "m.onnx") == model


@given(st.binary(max_size=60))
def test_bytes_are_a_message_or_are_refused(content: bytes) -> None:
    try:
        found = parse_outline(content, "m.onnx")
    except DecodeError:
        return
    assert found == onnx.ModelProto.FromString(content)


@given(st.data())
def test_a_damaged_model_is_read_as_protobuf_reads_it_or_refused(data: st.DataObject) -> None:
    content = bytearray(matmul_model(numpy_helper.from_array(LARGE[:1, :4], "W")).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        with patch.object(outline, "LEFT_BYTES", 4):
            parsed = parse_outline(bytes(content), "m.onnx")
    except DecodeError:
        return
    for tensor in parsed.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if place.get("location") == "m.onnx":
            start = int(place["offset"])
            tensor.raw_data = bytes(content[start : start + int(place["length"])])
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    assert parsed == onnx.ModelProto.FromString(bytes(content))


class TestLoading:
    def test_reads_weights_from_the_file_when_they_are_used(self, tmp_path: Path) -> None:
        model = load_model(write(large_model(), tmp_path / "m.onnx"))
        weight = model.ir.graph.initializers["W"].const_value
        assert isinstance(weight, DataFileTensor)
        np.testing.assert_array_equal(weight.numpy(), LARGE)
        assert model.data_files == ()

    @pytest.mark.parametrize("link", ["symbolic", "hard"])
    def test_follows_a_link_that_the_user_named(self, tmp_path: Path, link: str) -> None:
        target, path = write(large_model(), tmp_path / "elsewhere" / "blob"), tmp_path / "m.onnx"
        path.symlink_to(target) if link == "symbolic" else path.hardlink_to(target)
        weight = load_model(path).ir.graph.initializers["W"].const_value
        assert weight is not None
        np.testing.assert_array_equal(weight.numpy(), LARGE)

    def test_finds_out_if_the_file_was_changed(self, tmp_path: Path) -> None:
        path = write(large_model(), tmp_path / "m.onnx")
        model = load_model(path)
        write(matmul_model(numpy_helper.from_array(2 * LARGE, "W")), path)
        with pytest.raises(ModelError, match=r"m\.onnx was changed while its weights were in use: start again"):
            save_model(model.ir, tmp_path / "out.onnx")

    def test_is_not_followed_by_saving_over_the_file(self, tmp_path: Path) -> None:
        path = write(large_model(), tmp_path / "m.onnx")
        model = load_model(path)
        with pytest.raises(OutputError, match=r"m\.onnx is where the model still reads its weights from"):
            save_model(model.ir, path)

    @pytest.mark.parametrize("external", [False, True])
    def test_is_undone_by_saving(self, tmp_path: Path, external: bool) -> None:
        path = write(large_model(), tmp_path / "m.onnx")
        model = load_model(path)
        save_model(model.ir, tmp_path / "out.onnx", external_data=external)
        path.unlink()
        saved = onnx.load(tmp_path / "out.onnx")
        np.testing.assert_array_equal(numpy_helper.to_array(saved.graph.initializer[0]), LARGE)
