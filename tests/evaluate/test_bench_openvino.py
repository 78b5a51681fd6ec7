"""OpenVINO as an opponent: what is converted, what is not, and what is said of both."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.optimize import optimize
from tests.tiny_encoder import write_model_folder

QUICK = BenchConfig(
    batch_sizes=(2,), sequence_lengths=(5,), against=("openvino",), threads=1, rounds=2, repeats=1, warm_up=0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino")
    dense = write_model_folder(folder / "dense")
    optimize(dense, folder / "small", OptimizeConfig(method="svd", keep=0.5))
    optimize(dense, folder / "int8", OptimizeConfig(method="svd", keep=0.5, precision="int8"))
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    return bench([folder / name for name in ("dense", "small", "int8")], QUICK).to_json()


def test_every_model_in_float_is_converted_too(folder: Path, report: dict[str, Any]) -> None:
    dense, small, int8 = (str(folder / name) for name in ("dense", "small", "int8"))
    assert [model["name"] for model in report["models"]] == [
        *(dense, small, int8),
        *(f"{dense}, openvino", f"{small}, openvino"),
    ]
    assert report["left_out"] == [{"name": int8, "against": "openvino", "reason": "its weights are quantized already"}]


def test_what_is_converted_runs_in_openvino_and_is_whole(report: dict[str, Any]) -> None:
    dense, converted = report["models"][0], report["models"][3]
    assert converted["runtime"]["name"] == "openvino"
    assert converted["runtime"]["version"].startswith("20")
    assert converted["runtime"]["threads"] == 1
    assert converted["runtime"]["float_type"] in {"f32", "bf16", "f16"}
    assert set(converted["files"]) == {"openvino.xml", "openvino.bin"}
    assert converted["parameters"] == dense["parameters"]
    assert converted["peak_memory_bytes"] > 0
    assert all(entry["p50_ms"] > 0 for entry in report["shapes"][0]["models"])
    assert {"openvino", "nncf"} <= set(report["environment"]["packages"])


def test_a_model_that_is_quantized_already_cannot_be_converted(folder: Path) -> None:
    with pytest.raises(
        OptionError, match=r"`against` openvino converts models in float, and .*int8 is quantized already"
    ):
        bench([folder / "int8"], dataclasses.replace(QUICK, memory=False))
