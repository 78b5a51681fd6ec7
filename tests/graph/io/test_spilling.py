"""New weights in a file without a name: out of memory, and the same in every other respect."""

import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.io.external_data import PAGE_SIZE, THRESHOLD
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.io.spilling import Store, in_memory, spill_file
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from tests.folders import snapshot
from tests.graph.execution import svd_factors
from tests.tiny_encoder import outputs, write_model_folder


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_tensors_come_back_as_they_were(tmp_path: Path, dtype: type) -> None:
    arrays: list[np.ndarray] = [
        np.random.default_rng(seed).standard_normal((33, 40 + seed)).astype(dtype) for seed in range(5)
    ]
    with spill_file(tmp_path) as store:
        stored = [store(ir.Tensor(array, name=f"W{number}")) for number, array in enumerate(arrays)]
        for tensor, array in reversed(list(zip(stored, arrays, strict=True))):
            found = tensor.numpy()
            np.testing.assert_array_equal(found.view(np.uint8), array.view(np.uint8))
            assert (found.dtype, tensor.dtype) == (array.dtype, ir.DataType.from_numpy(array.dtype))
            assert found.ctypes.data % 64 == 0  # as BLAS likes it
        assert [tensor.name for tensor in stored] == [f"W{number}" for number in range(5)]


def test_small_tensors_stay_in_memory(tmp_path: Path) -> None:
    tensor = ir.Tensor(np.zeros(THRESHOLD, np.int8))
    with spill_file(tmp_path) as store:
        assert store(tensor) is tensor


def test_memory_does_not_grow_with_what_is_stored(tmp_path: Path) -> None:
    size = 2**18
    tracemalloc.start()
    with spill_file(tmp_path) as store:
        stored = [store(ir.Tensor(np.full(size, number, np.float32))) for number in range(32)]
        sums = [tensor.numpy().sum() for tensor in stored]
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sums == [number * size for number in range(32)]
    assert peak < 4 * stored[0].nbytes


def test_the_file_has_no_name(tmp_path: Path) -> None:
    with spill_file(tmp_path) as store:
        store(ir.Tensor(np.ones(2 * PAGE_SIZE, np.int8)))
        assert snapshot(tmp_path) == {}


def factored(folder: Path, out: Path, store: Store, *, external_data: bool) -> Path:
    """Write the model in ``folder`` with every site factored at full rank."""
    model = load_model(folder).ir
    rewriter = Rewriter(model, store)
    for site in find_sites(model).sites:
        rewriter.factor(site, *svd_factors(site.weight.numpy(), min(site.in_features, site.out_features)))
    out.mkdir()
    save_model(model, out / "model.onnx", external_data=external_data)
    return out


@pytest.mark.parametrize("external_data", [False, True], ids=["one file", "external data"])
def test_the_model_is_the_same_byte_for_byte_and_full_rank_keeps_its_outputs(
    tmp_path: Path, external_data: bool
) -> None:
    folder = write_model_folder(tmp_path / "model")
    with spill_file(tmp_path) as store:
        spilled = factored(folder, tmp_path / "spilled", store, external_data=external_data)
    kept = factored(folder, tmp_path / "kept", in_memory, external_data=external_data)
    assert snapshot(spilled) == snapshot(kept)
    np.testing.assert_allclose(outputs(spilled), outputs(folder), atol=1e-5)
    entries = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in onnx.load(spilled / "model.onnx", load_external_data=False).graph.initializer
    ]
    offsets = [int(entry.get("offset", 0)) for entry in entries if entry]
    assert bool(offsets) == external_data
    assert not any(offset % PAGE_SIZE for offset in offsets)
