"""Loading, locating and saving models: what is accepted, what is refused and in which words."""

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from squeeze_onnx.graph.io.model import load_model, refuse_overwriting_input, save_model
from squeeze_onnx.support.errors import ModelError, OutputError
from tests.tiny_models import WEIGHT, external_tensor, full_model, matmul_model, write

LAZY_BYTES = WEIGHT.tobytes()


def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path / ("x" * 300))


class TestNotAModel:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            pytest.param(b"", "is empty", id="empty"),
            pytest.param(b"hello world, this is text\n", "not an ONNX file", id="text"),
            pytest.param(bytes(range(256)), "not an ONNX file", id="random bytes"),
            pytest.param(
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull", id="LFS pointer"
            ),
            pytest.param(b"\x08\x07", "no opset_import", id="bytes that happen to be a protobuf"),
            pytest.param(full_model().SerializeToString()[:-300], "not an ONNX file, or is cut off", id="cut off"),
        ],
    )
    def test_is_refused(self, tmp_path: Path, content: bytes, why: str) -> None:
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(ModelError, match=why) as caught:
            load_model(tmp_path / "m.onnx")
        assert str(tmp_path / "m.onnx") in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("field", ["ir_version", "opset_import", "graph"])
    def test_a_missing_part_is_named(self, tmp_path: Path, field: str) -> None:
        model = matmul_model()
        model.ClearField(field)
        with pytest.raises(ModelError, match=f"no {field}"):
            load_model(write(model, tmp_path / "m.onnx"))

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="does not exist"):
            load_model(tmp_path / "m.onnx")

    def test_a_pipe_is_refused_without_waiting_for_it(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "m.onnx")
        with pytest.raises(ModelError, match="is not a file"):
            load_model(tmp_path / "m.onnx")

    def test_a_file_above_protobufs_limit_is_refused_unread(self, tmp_path: Path) -> None:
        with (tmp_path / "m.onnx").open("wb") as file:
            file.truncate(2**31)
        with pytest.raises(ModelError, match="2 GB"):
            load_model(tmp_path / "m.onnx")

    def test_what_onnx_ir_refuses_is_told_in_one_short_line(self, tmp_path: Path) -> None:
        model = matmul_model()
        model.graph.input[0].type.tensor_type.elem_type = 999
        with pytest.raises(ModelError, match="999 is not a valid DataType") as caught:
            load_model(write(model, tmp_path / "m.onnx"))
        assert "\n" not in str(caught.value)

    def test_nodes_in_a_circle_are_refused(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
        with pytest.raises(ModelError, match=r"(?i)cycle"):
            load_model(write(matmul_model(nodes=nodes), tmp_path / "m.onnx"))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


WHOLE = full_model().SerializeToString()


@given(
    end=st.integers(1, len(WHOLE)) | st.just(len(WHOLE)),
    edits=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4),
)
def test_a_damaged_file_loads_or_is_refused(damaged: Path, end: int, edits: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for position, byte in edits:
        content[position] = byte
    (damaged / "m.onnx").write_bytes(content[:end])
    try:
        model = load_model(damaged / "m.onnx")
    except ModelError as error:
        assert str(error).startswith(str(damaged / "m.onnx"))
    else:
        assert isinstance(model.ir, ir.Model)


class TestLoaded:
    def test_nodes_out_of_order_are_sorted(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Relu", ["h"], ["y"]), helper.make_node("MatMul", ["x", "W"], ["h"])]
        model = load_model(write(matmul_model(nodes=nodes), tmp_path / "m.onnx"))
        assert [node.op_type for node in model.ir.graph] == ["MatMul", "Relu"]

    def test_nodes_in_order_stay_in_that_order(self, tmp_path: Path) -> None:
        names = [f"n{number}" for number in (3, 1, 4, 5, 9, 2, 6)]
        nodes = [helper.make_node("MatMul", ["x", "W"], [name], name=name) for name in names]
        proto = matmul_model(nodes=[*nodes, helper.make_node("Sum", names, ["y"], name="sum")])
        model = load_model(write(proto, tmp_path / "m.onnx"))
        assert [node.name for node in model.ir.graph] == [*names, "sum"]

    def test_the_default_domain_is_spelled_one_way(self, tmp_path: Path) -> None:
        proto = matmul_model()
        proto.opset_import[0].domain = "ai.onnx"
        proto.graph.node[0].domain = "ai.onnx"
        model = load_model(write(proto, tmp_path / "m.onnx"))
        assert model.ir.opset_imports == {"": 17}
        assert model.ir.graph[0].domain == ""

    def test_a_relative_path_becomes_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(matmul_model(external_tensor("W", "w.bin")), tmp_path / "a" / "m.onnx", w=LAZY_BYTES)
        monkeypatch.chdir(tmp_path / "a")
        model = load_model("m.onnx")
        monkeypatch.chdir(tmp_path)
        assert model.folder == tmp_path / "a"
        np.testing.assert_array_equal(model.ir.graph.initializers["W"].const_value.numpy(), WEIGHT)  # type: ignore[union-attr]

    def test_weights_are_not_looked_at(self, tmp_path: Path) -> None:
        broken = np.full((8, 4), np.nan, np.float32)
        write(matmul_model(numpy_helper.from_array(broken, "W")), tmp_path / "inline.onnx")
        write(matmul_model(external_tensor("W", "w.bin")), tmp_path / "external.onnx", w=broken.tobytes())
        for name in ("inline", "external"):
            assert load_model(tmp_path / f"{name}.onnx").ir.graph.initializers["W"].shape == (8, 4)


def semantics(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return ``model`` without what may differ after saving: where tensors lie, and declarations of initializers."""
    whole = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.load_external_data_for_model(whole, str(folder))
    graphs = [whole.graph]
    for graph in graphs:
        initializers = {tensor.name for tensor in graph.initializer}
        kept = [info for info in graph.value_info if info.name not in initializers]
        graph.ClearField("value_info")
        graph.value_info.extend(kept)
        for node in graph.node:
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        for tensor in graph.initializer:
            tensor.ClearField("data_location")
    while whole.graph.node[-1].output[-1:] == [""]:  # an absent optional output need not be written
        del whole.graph.node[-1].output[-1]
    return whole


class TestSaving:
    @pytest.mark.parametrize("external_data", [False, True], ids=["one file", "external data"])
    def test_everything_but_the_place_of_tensors_is_kept(self, tmp_path: Path, external_data: bool) -> None:
        original = full_model()
        original.graph.initializer.append(numpy_helper.from_array(np.ones((64, 64), np.float32), "large"))
        model = load_model(write(original, tmp_path / "m.onnx"))
        save_model(model.ir, tmp_path / "out.onnx", external_data=external_data)
        saved = onnx.load(tmp_path / "out.onnx", load_external_data=False)
        assert semantics(saved, tmp_path) == semantics(original, tmp_path)
        assert (tmp_path / "out.onnx.data").exists() == external_data

    @pytest.mark.parametrize("external_data", [False, True], ids=["one file", "external data"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.float64, ml_dtypes.int4])
    def test_element_types_are_kept(self, tmp_path: Path, dtype: type, external_data: bool) -> None:
        array: np.ndarray[Any, Any] = (np.arange(64 * 64) % 7).astype(dtype).reshape(64, 64)
        proto = matmul_model(ir.to_proto(ir.tensor(array, name="W")))
        model = load_model(write(proto, tmp_path / "m.onnx"))
        save_model(model.ir, tmp_path / "out.onnx", external_data=external_data)
        weight = load_model(tmp_path / "out.onnx").ir.graph.initializers["W"].const_value
        assert weight is not None
        assert weight.dtype == ir.DataType.from_numpy(np.dtype(dtype))
        np.testing.assert_array_equal(weight.numpy(), array)

    def test_external_data_comes_in_unless_asked_for(self, tmp_path: Path) -> None:
        large = np.arange(64 * 8, dtype=np.float32).reshape(64, 8)
        proto = matmul_model(external_tensor("W", "w.bin", large))
        model = load_model(write(proto, tmp_path / "in" / "m.onnx", w=large.tobytes()))
        (tmp_path / "out").mkdir()
        save_model(model.ir, tmp_path / "out" / "model.onnx")
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["model.onnx"]
        saved = onnx.load(tmp_path / "out" / "model.onnx")
        np.testing.assert_array_equal(numpy_helper.to_array(saved.graph.initializer[0]), large)

    def test_a_model_too_large_for_protobuf_gets_external_data(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        large = numpy_helper.from_array(np.ones((64, 64), np.float32), "W")
        model = load_model(write(matmul_model(large), tmp_path / "m.onnx"))
        monkeypatch.setattr("squeeze_onnx.graph.io.model.PROTOBUF_LIMIT", large.ByteSize())
        save_model(model.ir, tmp_path / "model.onnx")
        saved = onnx.load(tmp_path / "model.onnx", load_external_data=False)
        assert {entry.key: entry.value for entry in saved.graph.initializer[0].external_data}["location"] == (
            "model.onnx.data"
        )

    def test_the_model_is_as_before(self, tmp_path: Path) -> None:
        model = load_model(write(full_model(), tmp_path / "m.onnx")).ir
        model.graph.register_initializer(
            ir.Value(name="large", const_value=ir.tensor(np.ones((64, 64), np.float32), name="large"))
        )
        tensors = [initializer.const_value for initializer in model.graph.initializers.values()]
        before = ir.to_proto(model)
        save_model(model, tmp_path / "a.onnx", external_data=True)
        save_model(model, tmp_path / "b.onnx")
        assert all(
            initializer.const_value is tensor
            for initializer, tensor in zip(model.graph.initializers.values(), tensors, strict=True)
        )
        assert ir.to_proto(model) == before

    def test_a_model_loaded_by_onnx_ir_is_saved_whole_too(self, tmp_path: Path) -> None:
        write(matmul_model(external_tensor("W", "w.bin")), tmp_path / "in" / "m.onnx", w=LAZY_BYTES)
        (tmp_path / "out").mkdir()
        model = ir.load(tmp_path / "in" / "m.onnx")
        save_model(model, tmp_path / "out" / "m.onnx")
        saved = onnx.load(tmp_path / "out" / "m.onnx")
        np.testing.assert_array_equal(numpy_helper.to_array(saved.graph.initializer[0]), WEIGHT)
        assert isinstance(model.graph.initializers["W"].const_value, ir.ExternalTensor)

    @pytest.mark.parametrize("name", ["w.bin", "weights.onnx.data"], ids=["the model", "the data file"])
    def test_weights_still_to_be_read_are_not_overwritten(self, tmp_path: Path, name: str) -> None:
        write(matmul_model(external_tensor("W", name)), tmp_path / "m.onnx")
        (tmp_path / name).write_bytes(LAZY_BYTES)
        model = load_model(tmp_path / "m.onnx")
        with pytest.raises(OutputError, match=f"{name} is where the model still reads"):
            save_model(model.ir, tmp_path / name.removesuffix(".data"), external_data=True)
        assert (tmp_path / name).read_bytes() == LAZY_BYTES

    def test_what_onnx_cannot_express_is_refused(self, tmp_path: Path) -> None:
        model = load_model(write(matmul_model(), tmp_path / "m.onnx"))
        model.ir.graph[0].attributes["odd"] = ir.Attr("odd", ir.AttributeType.UNDEFINED, 1)
        with pytest.raises(OutputError, match="cannot be written as ONNX"):
            save_model(model.ir, tmp_path / "out.onnx")


class TestRefusingToOverwriteTheInput:
    @pytest.mark.parametrize(
        "out",
        [
            pytest.param("model", id="the model's folder"),
            pytest.param("model/../model/", id="its folder spelled otherwise"),
            pytest.param("link", id="a link to its folder"),
            pytest.param(".", id="a folder around it"),
            pytest.param("model/m.onnx", id="the file itself"),
            pytest.param("model/weights", id="the folder of its data"),
        ],
    )
    def test_refused(self, tmp_path: Path, out: str) -> None:
        (tmp_path / "model" / "weights").mkdir(parents=True)
        (tmp_path / "model" / "weights" / "w.bin").write_bytes(LAZY_BYTES)
        (tmp_path / "link").symlink_to("model")
        model = load_model(write(matmul_model(external_tensor("W", "weights/w.bin")), tmp_path / "model" / "m.onnx"))
        with pytest.raises(OutputError, match="would replace the input"):
            refuse_overwriting_input(model, tmp_path / out)

    def test_refused_around_the_target_of_a_linked_model(self, tmp_path: Path) -> None:
        write(matmul_model(), tmp_path / "blobs" / "m.onnx")
        (tmp_path / "model.onnx").symlink_to("blobs/m.onnx")
        model = load_model(tmp_path / "model.onnx")
        for out in (tmp_path, tmp_path / "blobs"):
            with pytest.raises(OutputError, match="would replace the input"):
                refuse_overwriting_input(model, out)

    @pytest.mark.parametrize("out", ["model/small", "other", "model2"])
    def test_accepted(self, tmp_path: Path, out: str) -> None:
        model = load_model(write(matmul_model(), tmp_path / "model" / "m.onnx"))
        refuse_overwriting_input(model, tmp_path / out)
        assert not (tmp_path / out).exists()


def test_values_of_every_kind_survive(tmp_path: Path) -> None:
    """Sequence and optional types, symbolic and unknown dimensions, quantization annotations."""
    proto = matmul_model()
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["b", None]))
    proto.graph.input.append(helper.make_value_info("s", sequence))
    proto.graph.input.append(helper.make_value_info("o", helper.make_optional_type_proto(sequence)))
    annotation = proto.graph.quantization_annotation.add(tensor_name="W")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    model = load_model(write(proto, tmp_path / "m.onnx"))
    save_model(model.ir, tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx") == proto
