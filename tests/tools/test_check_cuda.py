"""The tool for the device, as far as it goes without one."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from tests.tiny_encoder import encoder_model, weights_of
from tools import check_cuda


@pytest.fixture
def skeletons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a tiny model whose weights of 64 entries and more are left out."""
    monkeypatch.setattr(check_cuda, "LEAST_LEFT_OUT", 64)
    model = encoder_model(classifier=False)
    check_cuda.strip(model)
    (tmp_path / "skeletons").mkdir()
    onnx.save(model, tmp_path / "skeletons" / "tiny.onnx")
    return tmp_path / "skeletons"


def test_large_weights_are_left_out_and_drawn_again(skeletons: Path) -> None:
    whole, model = weights_of(encoder_model(classifier=False)), onnx.load(skeletons / "tiny.onnx")
    assert len(model.SerializeToString()) < len(encoder_model(classifier=False).SerializeToString()) / 2
    check_cuda.fill(model)
    drawn = weights_of(model)
    assert {name: array.shape for name, array in drawn.items()} == {name: array.shape for name, array in whole.items()}
    assert all(np.isfinite(array).all() for array in drawn.values())
    assert all(array.std() > 0 for array in drawn.values() if array.size >= 64)


def test_it_measures_parity_fp16_and_speed(skeletons: Path, tmp_path: Path) -> None:
    shape = ["--batch-size", "1", "--sequence-length", "8", "--rounds", "1"]
    arguments = ["run", str(skeletons), "--provider", "cpu", *shape, "--out", str(tmp_path / "results")]
    result = CliRunner().invoke(check_cuda.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    [file] = (tmp_path / "results").iterdir()
    document = json.loads(file.read_text(encoding="utf-8"))
    assert set(document["parity"].values()) == {0.0}  # the CPU agrees with itself
    assert all(0.99 < row["least"] <= row["mean"] < 1.0001 for row in document["fp16"].values())
    assert {row["name"] for row in document["models"]} == {*document["parity"], *document["fp16"]}


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here")
def test_without_a_device_it_says_so(skeletons: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(check_cuda.main, ["run", str(skeletons), "--out", str(tmp_path / "results")])
    assert result.exit_code == 1
    assert "`provider` cuda" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "results").exists()
