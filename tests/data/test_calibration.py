"""What weights meet, streamed: against the products of the whole, padding left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments, session_showing
from squeeze_onnx.graph.io.model import load_model, name_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.spectral.moments import Moments, SecondMoment, TokenFrequency
from squeeze_onnx.support.errors import ModelError
from tests.tiny_encoder import VOCABULARY, batch, encoder_model, weights_of, write_model_folder
from tests.tiny_models import WEIGHT, matmul_model
from tests.tracks import PostedTrack, RecordingTrack


def gram(moments: Moments) -> np.ndarray:
    assert isinstance(moments, SecondMoment)
    return moments.gram


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)


def linear() -> tuple[ir.Model, tuple[MatMulSite, ...]]:
    model = ir.from_proto(matmul_model())
    return model, find_sites(model).sites


class TestSums:
    def test_of_batches_are_those_of_all_rows(self) -> None:
        model, sites = linear()
        inputs, track = rows(50), RecordingTrack()
        batches = [CalibrationBatch({"x": part}, None) for part in np.array_split(inputs, 4)]
        moments = collect_moments(model, sites, batches, track=track)["linear"]
        assert isinstance(moments, SecondMoment)
        assert moments.tokens == 50
        exact = inputs.astype(np.float64)
        norms = np.linalg.norm(exact, axis=0)
        np.testing.assert_allclose((moments.gram - exact.T @ exact) / np.outer(norms, norms), 0, atol=1e-6)
        np.testing.assert_array_equal(moments.gram, moments.gram.T)
        assert track.taken == {"Calibration": 4}

    def test_leave_the_model_as_it_was(self) -> None:
        model, sites = linear()
        before = ir.to_proto(model).SerializeToString(deterministic=True)
        collect_moments(model, sites, [CalibrationBatch({"x": rows(3)}, None)])
        assert ir.to_proto(model).SerializeToString(deterministic=True) == before

    def test_of_a_tied_weight_are_over_all_its_uses(self) -> None:
        square = numpy_helper.from_array(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8), "W")
        nodes = [
            helper.make_node("MatMul", ["x", "W"], ["h"], name="first"),
            helper.make_node("MatMul", ["h", "W"], ["y"], name="second"),
        ]
        model = ir.from_proto(matmul_model(square, nodes=nodes))
        inputs = rows(20)
        [moments] = collect_moments(model, find_sites(model).sites, [CalibrationBatch({"x": inputs}, None)]).values()
        hidden = inputs @ numpy_helper.to_array(square)
        np.testing.assert_allclose(gram(moments), inputs.T @ inputs + hidden.T @ hidden, rtol=1e-5, atol=1e-5)

    def test_that_are_not_finite_are_refused_with_the_node(self) -> None:
        model, sites = linear()
        inputs = rows(5)
        inputs[3, 2] = np.nan
        with pytest.raises(ModelError, match="what node linear reads is NaN or infinite"):
            collect_moments(model, sites, [CalibrationBatch({"x": inputs}, None)])


def collect(proto: onnx.ModelProto, feeds: Sequence[dict[str, np.ndarray]]) -> dict[str, Moments]:
    model = ir.from_proto(proto)
    batches = [CalibrationBatch(arrays, arrays["attention_mask"]) for arrays in feeds]
    return collect_moments(model, find_sites(model).sites, batches)


@pytest.fixture(scope="module")
def moments() -> dict[str, Moments]:
    return collect(encoder_model(classifier=True), [batch()])


class TestEncoder:
    def test_query_key_and_value_share_what_they_read(self, moments: dict[str, Moments]) -> None:
        assert moments["layer.0/query"] is moments["layer.0/key"] is moments["layer.0/value"]
        assert moments["layer.0/query"] is not moments["layer.1/query"]

    def test_padding_does_not_count(self, moments: dict[str, Moments]) -> None:
        short = {name: array[2:, :4] for name, array in batch().items()}
        long = {name: array[:2] for name, array in batch().items()}
        unpadded = collect(encoder_model(classifier=True), [short, long])
        for name in moments.keys() - {"embedding"}:
            np.testing.assert_allclose(gram(moments[name]), gram(unpadded[name]), rtol=1e-4, atol=1e-4, err_msg=name)

    def test_a_lookup_is_counted(self, moments: dict[str, Moments]) -> None:
        frequency = moments["embedding"]
        assert isinstance(frequency, TokenFrequency)
        arrays = batch()
        tokens = arrays["input_ids"][arrays["attention_mask"] > 0]
        np.testing.assert_array_equal(frequency.counts, np.bincount(tokens, minlength=VOCABULARY))

    def test_what_has_no_positions_counts_whole(self, moments: dict[str, Moments]) -> None:
        pooler = moments["pooler"]
        assert isinstance(pooler, SecondMoment)
        assert pooler.tokens == 3

    def test_they_predict_the_size_of_an_output(self, moments: dict[str, Moments]) -> None:
        proto = encoder_model(classifier=True)
        query = next(node for node in proto.graph.node if node.name == "layer.0/query")
        shown = onnx.ModelProto.FromString(proto.SerializeToString())
        shown.graph.output[0].CopyFrom(helper.make_tensor_value_info(query.output[0], onnx.TensorProto.FLOAT, None))
        session = open_session(shown.SerializeToString())
        arrays = batch()
        [products] = session.run(None, arrays)
        expected = np.linalg.norm(products[arrays["attention_mask"] > 0], axis=0)
        weight = weights_of(proto)["layer.0/query.weight"].astype(np.float64)
        weighed = np.linalg.norm(moments["layer.0/query"].weigh(weight), axis=0)
        np.testing.assert_allclose(np.sqrt(arrays["attention_mask"].sum()) * weighed, expected, rtol=1e-4)


@pytest.mark.parametrize("hands", [2, 5, 100])
def test_that_several_machines_summed_up_are_the_same_bit_for_bit(hands: int, tmp_path: Path) -> None:
    model = ir.from_proto(encoder_model(classifier=True))
    sites = find_sites(model).sites
    batches = [CalibrationBatch(arrays, arrays["attention_mask"]) for arrays in (batch(), batch())]
    expected = collect_moments(model, sites, batches)
    track = PostedTrack(tmp_path, hands)
    found = collect_moments(model, sites, batches, track=track)
    distinct = {id(moment) for moment in expected.values()}
    assert track.taken == {"Calibration": min(hands, len(distinct))}
    assert found.keys() == expected.keys()
    for name, moment in expected.items():
        assert type(found[name]) is type(moment)
        for field, value in vars(moment).items():
            np.testing.assert_array_equal(getattr(found[name], field), value, err_msg=name)


def test_a_model_that_does_not_run_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["h"], name="linear"),
        helper.make_node("Mystery", ["h"], ["y"], domain="org.example"),
        helper.make_node("MatMul", ["y", "V"], ["z"], name="after"),
    ]
    weights = (numpy_helper.from_array(WEIGHT, "W"), numpy_helper.from_array(WEIGHT.T.copy(), "V"))
    proto = matmul_model(*weights, nodes=nodes, outputs=("z",))
    proto.opset_import.append(helper.make_opsetid("org.example", 1))
    model = ir.from_proto(proto)
    with pytest.raises(ModelError, match="Mystery"):
        collect_moments(model, find_sites(model).sites, [CalibrationBatch({"x": rows(2)}, None)])


def test_a_copy_that_does_not_run_is_called_by_the_file_of_the_model(tmp_path: Path) -> None:
    model = load_model(write_model_folder(tmp_path / "model"))
    with session_showing(model.ir, ["last_hidden_state"], "cpu") as session:
        for name in (model.ir, model.ir.clone()):
            assert name_of(name) == str(tmp_path / "model" / "model.onnx") == session.label
        with pytest.raises(ModelError, match=r"^\S+/model/model\.onnx does not run on cpu: "):
            session.run(None, {"input_ids": np.zeros((1, 2), np.int64)})
