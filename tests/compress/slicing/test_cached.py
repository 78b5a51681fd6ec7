"""Heads that a cache holds are thinned all together, or stay whole for a reason that is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.slicing import blocks_among, without_uneven
from squeeze_onnx.compress.slicing.stage import Found
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.sites import find_sites
from tests.tiny_decoder import GROUPS, LAYERS, WIDTH, decoder


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel(Path("model.onnx"), decoder(rotary=False, repeat="gather"))


@pytest.fixture(scope="module")
def found(model: OnnxModel) -> list[Found]:
    return blocks_among(find_sites(model.ir).sites, ("neurons", "heads"))


def calibration(tokens: int) -> list[CalibrationBatch]:
    """Return a batch behind so many earlier tokens."""
    return [CalibrationBatch({"past_key_values.0.key": np.zeros((2, GROUPS, tokens, WIDTH), np.float32)}, None)]


def test_all_go_together_where_the_cache_is_empty(model: OnnxModel, found: list[Found]) -> None:
    assert without_uneven(found, model, calibration(0)) == (found, None)


def test_calibration_on_earlier_tokens_leaves_them_whole(model: OnnxModel, found: list[Found]) -> None:
    kept, reason = without_uneven(found, model, calibration(3))
    assert len(kept) == LAYERS  # the neurons
    assert reason is not None
    assert reason.startswith("the calibration data has earlier keys and values")


def test_one_that_is_left_out_leaves_all_whole(model: OnnxModel, found: list[Found]) -> None:
    kept, reason = without_uneven(found[:-1], model, ())
    assert len(kept) == LAYERS
    assert reason == "those of past_key_values.1.value cannot be made thinner, or their weights were left out"


@pytest.mark.parametrize("name", ["decoder_with_past_model.onnx", "model.onnx"])
def test_what_another_file_fills_stays_whole(model: OnnxModel, found: list[Found], name: str) -> None:
    fed = OnnxModel(Path(name), model.ir)
    if name == "model.onnx":  # keys of an encoder, which are taken and not returned
        fed = replace(fed, ir=decoder(rotary=False, repeat="gather"))
        kind, shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["B", GROUPS, "E", WIDTH])
        fed.ir.graph.inputs.append(ir.Value(name="past_key_values.0.encoder.key", type=kind, shape=shape))
    kept, reason = without_uneven(found if name != "model.onnx" else [], fed, ())
    assert len(kept) == (LAYERS if name != "model.onnx" else 0)
    assert reason == "another file fills the cache, which would have to be cut alike"
