"""Which .onnx file a path means."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.graph.io.locate import locate_model
from squeeze_onnx.support.errors import ModelError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path: Path, dtype: type[np.generic], operator: str = "MatMul", *, in_node: bool = False) -> None:
    """Write a graph of one weight of ``dtype``, in an initializer or a Constant node."""
    weight = numpy_helper.from_array(np.zeros((8, 8), dtype), "w")
    nodes = [helper.make_node(operator, ["x", "w"], ["y"])]
    if in_node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph(nodes, "g", [value], [value], [] if in_node else [weight])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(helper.make_model(graph).SerializeToString())


def test_a_file_is_itself(tmp_path: Path) -> None:
    assert locate_model(tmp_path / "a.onnx") == tmp_path / "a.onnx"


def test_a_folder_means_its_model_onnx(tmp_path: Path) -> None:
    touch(tmp_path, "a.onnx", "model.onnx", "onnx/model.onnx")
    assert locate_model(tmp_path) == tmp_path / "model.onnx"


def test_a_folder_means_its_only_model(tmp_path: Path) -> None:
    touch(tmp_path, "a.onnx")
    assert locate_model(str(tmp_path)) == tmp_path / "a.onnx"


@pytest.mark.parametrize("names", [("model.onnx",), ("model.onnx", "model_fp16.onnx", "model_quantized.onnx")])
def test_the_model_may_lie_in_the_subfolder_onnx(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path / "onnx", *names)
    assert locate_model(tmp_path) == tmp_path / "onnx" / "model.onnx"
    assert locate_model(tmp_path / "onnx") == tmp_path / "onnx" / "model.onnx"


def test_the_only_model_in_the_subfolder_is_meant_whatever_its_precision(tmp_path: Path) -> None:
    touch(tmp_path, "onnx/model_quantized.onnx")
    assert locate_model(tmp_path) == tmp_path / "onnx" / "model_quantized.onnx"


@pytest.mark.parametrize("in_node", [False, True], ids=["initializers", "constants"])
@pytest.mark.parametrize("folder", ["", "onnx"])
def test_of_several_precisions_the_float_one_is_meant(tmp_path: Path, folder: str, in_node: bool) -> None:
    write(tmp_path / folder / "encoder_fp16.onnx", np.float16, in_node=in_node)
    write(tmp_path / folder / "encoder_int8.onnx", np.int8, in_node=in_node)
    write(tmp_path / folder / "encoder_q4.onnx", np.float32, "MatMulNBits", in_node=in_node)
    write(tmp_path / folder / "encoder.onnx", np.float32, in_node=in_node)
    assert locate_model(tmp_path) == tmp_path / folder / "encoder.onnx"


def test_several_float_models_are_named(tmp_path: Path) -> None:
    for name in ("b.onnx", "a.onnx"):
        write(tmp_path / "onnx" / name, np.float32)
    with pytest.raises(
        ModelError, match=r"several of them have float32 weights: name one of onnx/a\.onnx, onnx/b\.onnx"
    ):
        locate_model(tmp_path)


def test_several_models_without_a_float_one_are_named(tmp_path: Path) -> None:
    write(tmp_path / "model_fp16.onnx", np.float16)
    touch(tmp_path, "model_int8.onnx")
    with pytest.raises(
        ModelError, match=r"none of them have float32 weights: name one of model_fp16\.onnx, model_int8\.onnx"
    ):
        locate_model(tmp_path)


def test_a_model_in_another_folder_is_pointed_at(tmp_path: Path) -> None:
    touch(tmp_path, "exported/model.onnx")
    with pytest.raises(ModelError, match=r"no \.onnx file: name a file such as .*exported/model\.onnx"):
        locate_model(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no \.onnx file"):
        locate_model(tmp_path)


def test_large_weights_are_told_without_reading_them(tmp_path: Path) -> None:
    write(tmp_path / "a_half.onnx", np.float16)
    model = onnx.load(tmp_path / "a_half.onnx")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((512, 512), np.float32), "w"))
    onnx.save(model, tmp_path / "b.onnx", save_as_external_data=True, location="b.data")
    (tmp_path / "b.data").unlink()
    assert locate_model(tmp_path) == tmp_path / "b.onnx"
