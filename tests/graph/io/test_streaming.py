"""The hand-made framing must be what protobuf makes of the same model."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from squeeze_onnx.graph.io.streaming import stream_model
from tests.tiny_models import full_model, matmul_model


def written(model: ir.Model, path: Path) -> bytes:
    stream = stream_model(model)
    stream.write(path)
    assert path.stat().st_size == stream.size
    return path.read_bytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams") / "m.onnx"


# Around 1 KiB lies the threshold; 127/128 and 16383/16384 bytes are where a length takes another byte.
@given(st.lists(st.integers(0, 300) | st.integers(1000, 1040) | st.integers(16_300, 16_420), max_size=5))
def test_the_file_is_what_protobuf_would_write(path: Path, sizes: list[int]) -> None:
    tensors = [numpy_helper.from_array(np.arange(size).astype(np.uint8), f"T{n}") for n, size in enumerate(sizes)]
    proto = matmul_model(*tensors, nodes=[helper.make_node("Relu", ["x"], ["y"])])
    model = ir.from_proto(proto)
    content = written(model, path)
    assert onnx.ModelProto.FromString(content) == ir.to_proto(model)
    assert len(content) == ir.to_proto(model).ByteSize()


def test_subgraphs_functions_and_metadata_are_kept(path: Path) -> None:
    proto = full_model()
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((64, 64), np.float32), "large"))
    proto.graph.initializer[-1].doc_string = "a large one"
    proto.graph.initializer[-1].metadata_props.add(key="from", value="tests")
    model = ir.from_proto(proto)
    expected = ir.to_proto(model)
    del expected.graph.initializer[-1].metadata_props[1:]  # onnx_ir writes those of a tensor it has parsed twice
    assert onnx.ModelProto.FromString(written(model, path)) == expected


def test_large_weights_are_not_copied_before_they_are_written(path: Path) -> None:
    weight = ir.tensor(np.ones((64, 64), np.float32), name="W")
    model = ir.from_proto(matmul_model(numpy_helper.from_array(weight.numpy(), "W")))
    model.graph.initializers["W"].const_value = weight
    assert any(piece is weight for piece in stream_model(model).pieces)


def test_typed_data_becomes_raw_data_of_the_same_values(path: Path) -> None:
    values = np.linspace(-5, 5, 400, dtype=np.float32)
    proto = matmul_model(
        helper.make_tensor("W", onnx.TensorProto.FLOAT, [400], values),
        helper.make_tensor("H", onnx.TensorProto.FLOAT16, [400], values),
    )
    saved = onnx.ModelProto.FromString(written(ir.from_proto(proto), path))
    for before, after in zip(proto.graph.initializer, saved.graph.initializer, strict=True):
        assert after.data_type == before.data_type
        np.testing.assert_array_equal(numpy_helper.to_array(after), numpy_helper.to_array(before))
