"""What goes from machine to machine: nothing large in messages, the same values on the other side."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.integrations.dask.transport import LARGE, Sender, pack_answer, unpack, unpack_answer
from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.support.errors import WorkerError
from tests.tiny_models import external_tensor, matmul_model, write

SQUARE = np.random.default_rng(0).standard_normal((192, 192)).astype(np.float32)


def site_of(tensor: onnx.TensorProto, *nodes: onnx.NodeProto) -> MatMulSite:
    nodes = nodes or (helper.make_node("MatMul", ["x", "W"], ["y"], name="linear"),)
    [site] = find_sites(ir.from_proto(matmul_model(tensor, nodes=list(nodes)))).sites
    return site


class TestArrays:
    def test_large_ones_go_by_file_and_are_the_same(self, tmp_path: Path) -> None:
        moment = SecondMoment(np.asfortranarray(SQUARE.astype(np.float64)), 7, SQUARE[0])
        message = Sender(tmp_path).pack(moment)
        found = unpack(message)
        assert len(message) < LARGE < moment.gram.nbytes
        assert found.tokens == 7
        assert found.gram.flags.f_contiguous
        np.testing.assert_array_equal(found.gram, moment.gram)
        np.testing.assert_array_equal(found.total, moment.total)

    def test_small_ones_leave_no_file(self, tmp_path: Path) -> None:
        np.testing.assert_array_equal(unpack(Sender(tmp_path).pack(SQUARE[:4])), SQUARE[:4])
        assert list(tmp_path.iterdir()) == []

    def test_are_written_once_however_often_they_go(self, tmp_path: Path) -> None:
        sender = Sender(tmp_path)
        for _ in range(3):
            sender.pack((SQUARE, SQUARE))
        assert len(list(tmp_path.iterdir())) == 1

    def test_of_a_file_that_is_not_seen_are_refused_with_its_path(self, tmp_path: Path) -> None:
        message = Sender(tmp_path).pack(SQUARE)
        [file] = tmp_path.iterdir()
        file.unlink()
        with pytest.raises(WorkerError, match=rf"cannot read {file} .*let all machines see the model"):
            unpack(message)

    def test_of_answers_are_removed_once_they_are_read(self, tmp_path: Path) -> None:
        message = pack_answer([SQUARE], tmp_path)
        assert len(message) < LARGE
        [found] = unpack_answer(message, {})
        np.testing.assert_array_equal(found, SQUARE)
        assert list(tmp_path.iterdir()) == []

    def test_of_answers_that_cannot_be_written_are_the_fault_of_the_worker(self, tmp_path: Path) -> None:
        with pytest.raises(WorkerError, match=rf"cannot write into {tmp_path / 'gone'} .*let all machines see"):
            pack_answer(SQUARE, tmp_path / "gone")


class TestSites:
    @pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=lambda dtype: dtype.__name__)
    def test_have_the_same_weight_and_no_graph(self, tmp_path: Path, dtype: type[np.generic]) -> None:
        stored = SQUARE[:, :150].astype(dtype)
        nodes = [
            helper.make_node("Transpose", ["W"], ["V"]),
            helper.make_node("Cast", ["V"], ["U"], to=onnx.TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "U"], ["y"], name="linear"),
        ]
        tensor = helper.make_tensor("W", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), stored.shape, stored)
        site = site_of(tensor, *nodes)
        message = Sender(tmp_path).pack(site)
        found = unpack(message)
        assert len(message) < LARGE
        assert (found.name, found.nodes, found.weight.name) == ("linear", (), "W")
        assert (found.in_features, found.out_features, found.role) == (150, 192, site.role)
        np.testing.assert_array_equal(read_weight(found), read_weight(site))

    def test_of_quantized_weights_are_decoded_there(self, tmp_path: Path) -> None:
        scales = np.linspace(0.1, 1, 192, dtype=np.float32)
        model = matmul_model(
            numpy_helper.from_array((SQUARE * 50).astype(np.int8), "Q"),
            numpy_helper.from_array(scales, "scales"),
            nodes=[
                helper.make_node("DequantizeLinear", ["Q", "scales"], ["W"]),
                helper.make_node("MatMul", ["x", "W"], ["y"], name="linear"),
            ],
        )
        [site] = find_sites(ir.from_proto(model)).sites
        np.testing.assert_array_equal(read_weight(unpack(Sender(tmp_path).pack(site))), read_weight(site))

    def test_in_answers_are_those_of_who_asked(self, tmp_path: Path) -> None:
        sender, site = Sender(tmp_path), site_of(numpy_helper.from_array(SQUARE, "W"))
        there = unpack(sender.pack(site))
        [found] = unpack_answer(pack_answer([there], tmp_path), sender.sites)
        assert found is site


class TestDataFiles:
    @pytest.fixture
    def site(self, tmp_path: Path) -> MatMulSite:
        content = {"weights": b"\0" * 64 + SQUARE.tobytes()}
        tensor = external_tensor("W", "weights.bin", SQUARE, offset="64")
        model = load_model(write(matmul_model(tensor), tmp_path / "model" / "model.onnx", **content))
        [site] = find_sites(model.ir).sites
        return site

    def test_are_read_where_they_lie(self, site: MatMulSite, tmp_path: Path) -> None:
        (scratch := tmp_path / "scratch").mkdir()
        np.testing.assert_array_equal(read_weight(unpack(Sender(scratch).pack(site))), SQUARE)
        assert list(scratch.iterdir()) == []

    def test_that_were_exchanged_are_refused(self, site: MatMulSite, tmp_path: Path) -> None:
        message = Sender(tmp_path).pack(site)
        os.utime(tmp_path / "model" / "weights.bin", ns=(0, 0))
        with pytest.raises(WorkerError, match=r"finds another file at .*weights\.bin than the one that is worked on"):
            unpack(message)

    def test_that_are_not_seen_are_refused(self, site: MatMulSite, tmp_path: Path) -> None:
        message = Sender(tmp_path).pack(site)
        (tmp_path / "model" / "weights.bin").unlink()
        with pytest.raises(WorkerError, match=r"cannot read .*weights\.bin"):
            unpack(message)
