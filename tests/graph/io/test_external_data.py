"""Weights in data files: read when used, one at a time, and put back where they were."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx.graph.io.external_data import PAGE_SIZE, DataFileTensor, external_files
from squeeze_onnx.graph.io.model import OnnxModel, load_model, save_model
from squeeze_onnx.support.errors import ModelError
from tests.tiny_models import WEIGHT, external_tensor, full_model, matmul_model, write


def weight_of(model: OnnxModel) -> ir.TensorProtocol:
    weight = model.ir.graph.initializers["W"].const_value
    assert weight is not None
    return weight


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    """A model whose weight W lies in w.bin."""
    return load_model(write(matmul_model(external_tensor("W", "w.bin")), tmp_path / "m.onnx", w=WEIGHT.tobytes()))


class TestReading:
    def test_happens_at_each_use(self, model: OnnxModel) -> None:
        first, second = weight_of(model).numpy(), weight_of(model).numpy()
        np.testing.assert_array_equal(first, WEIGHT)
        np.testing.assert_array_equal(second, WEIGHT)
        assert not np.shares_memory(first, second)

    def test_keeps_no_file_open(self, model: OnnxModel) -> None:
        weight_of(model).numpy()
        assert str(model.folder / "w.bin") not in Path("/proc/self/maps").read_text()

    def test_says_so_if_the_file_has_gone(self, model: OnnxModel) -> None:
        (model.folder / "w.bin").unlink()
        with pytest.raises(ModelError, match=r"w\.bin cannot be read any more"):
            weight_of(model).numpy()

    @pytest.mark.parametrize("content", [b"1234", (2 * WEIGHT).tobytes()], ids=["shorter", "other"])
    def test_says_so_if_the_file_has_changed(self, model: OnnxModel, content: bytes) -> None:
        (model.folder / "w.bin").write_bytes(content)
        with pytest.raises(ModelError, match=r"w\.bin was changed while its weights were in use: start again"):
            weight_of(model).tobytes()

    def test_works_for_tensors_without_elements(self, tmp_path: Path) -> None:
        nothing = np.zeros((0, 4), np.float32)
        model = load_model(write(matmul_model(external_tensor("W", "w.bin", nothing)), tmp_path / "m.onnx", w=b""))
        save_model(model.ir, tmp_path / "out.onnx", external_data=True)
        np.testing.assert_array_equal(weight_of(load_model(tmp_path / "out.onnx")).numpy(), nothing)


def test_files_are_listed_once(tmp_path: Path) -> None:
    places = [("W", "w.bin"), ("V", "v.bin"), ("U", "w.bin")]
    proto = matmul_model(*(external_tensor(*place) for place in places), helper.make_tensor("T", 1, [0], []))
    model = load_model(write(proto, tmp_path / "m.onnx", v=WEIGHT.tobytes(), w=WEIGHT.tobytes()))
    assert external_files(model.ir) == (tmp_path / "v.bin", tmp_path / "w.bin")


def test_weights_in_subgraphs_constants_and_functions_are_read_too(tmp_path: Path) -> None:
    """onnx_ir alone gives functions no folder, and writes tensors of nodes as references to where they lay."""
    proto = full_model()
    proto.graph.node[0].attribute[0].g.initializer[0].CopyFrom(external_tensor("W_else", "w.bin"))
    proto.functions[0].node[0].attribute[0].t.CopyFrom(external_tensor("", "w.bin", WEIGHT[0]))
    model = load_model(write(proto, tmp_path / "in" / "m.onnx", w=WEIGHT.tobytes()))
    (tmp_path / "out").mkdir()
    save_model(model.ir, tmp_path / "out" / "m.onnx")
    saved = onnx.load(tmp_path / "out" / "m.onnx")
    branch = saved.graph.node[0].attribute[0].g.initializer[0]
    constant = saved.functions[0].node[0].attribute[0].t
    np.testing.assert_array_equal(numpy_helper.to_array(branch), WEIGHT)
    np.testing.assert_array_equal(numpy_helper.to_array(constant), WEIGHT[0])
    assert isinstance(model.ir.functions["local", "Shift", ""][0].attributes["value"].value, DataFileTensor)


class TestMoving:
    def test_tensors_start_at_page_boundaries_and_small_ones_stay(self, tmp_path: Path) -> None:
        arrays = {"A": np.ones((33, 9), np.float32), "B": np.arange(4099, dtype=np.int8), "C": np.ones(3, np.float32)}
        proto = matmul_model(*(numpy_helper.from_array(array, name) for name, array in arrays.items()),
                             nodes=[helper.make_node("Relu", ["x"], ["y"])])  # fmt: skip
        model = load_model(write(proto, tmp_path / "m.onnx"))
        save_model(model.ir, tmp_path / "out.onnx", external_data=True)
        saved = onnx.load(tmp_path / "out.onnx", load_external_data=False)
        entries = [{entry.key: entry.value for entry in tensor.external_data} for tensor in saved.graph.initializer]
        assert entries == [
            {"location": "out.onnx.data", "offset": "0", "length": str(33 * 9 * 4)},
            {"location": "out.onnx.data", "offset": str(PAGE_SIZE), "length": "4099"},
            {},
        ]

    @pytest.mark.parametrize("external_data", [False, True], ids=["one file", "external data"])
    def test_onnxruntime_computes_the_same(self, tmp_path: Path, external_data: bool) -> None:
        large = np.linspace(-1, 1, 8 * 256, dtype=np.float32).reshape(8, 256)
        proto = matmul_model(external_tensor("W", "w.bin", large))
        model = load_model(write(proto, tmp_path / "in" / "m.onnx", w=large.tobytes()))
        (tmp_path / "out").mkdir()
        save_model(model.ir, tmp_path / "out" / "model.onnx", external_data=external_data)
        onnx.checker.check_model(tmp_path / "out" / "model.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
        x = np.eye(8, dtype=np.float32)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], large, rtol=1e-6)


def peak_memory() -> int:
    """Return the peak of the resident memory in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("external_data", [False, True], ids=["one file", "external data"])
def test_memory_grows_with_the_largest_weight_not_with_the_model(tmp_path: Path, external_data: bool) -> None:
    """64 weights of 8 MiB in a sparse file of 512 MiB pass through with less than 128 MiB."""
    count, array = 64, np.zeros((1024, 2048), np.float32)
    proto = matmul_model(
        *(external_tensor(f"W{number}", "w.bin", array, offset=str(number * array.nbytes)) for number in range(count)),
        nodes=[helper.make_node("Relu", ["x"], ["y"])],
    )
    path = write(proto, tmp_path / "m.onnx")
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(count * array.nbytes)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = peak_memory()
    model = load_model(path)
    for initializer in model.ir.graph.initializers.values():
        assert initializer.const_value is not None
        assert not initializer.const_value.numpy().any()
    save_model(model.ir, tmp_path / "out.onnx", external_data=external_data)
    assert peak_memory() - before < 128 * 2**20
