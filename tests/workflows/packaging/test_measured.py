import json
from pathlib import Path
from typing import Any

import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.optimize import optimize
from squeeze_onnx.workflows.packaging.bundle import PackageConfig, package
from tests.tiny_encoder import write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, the ``small`` one made of it, and what validate and bench say of both."""
    folder = tmp_path_factory.mktemp("measured")
    model, small = write_model_folder(folder / "model"), folder / "small"
    optimize(model, small, OptimizeConfig(method="svd", keep=0.5))
    validation = validate(model, small, ValidateConfig(limit=4, latency_rounds=2)).to_json()
    timing = bench(
        [model, small], BenchConfig(batch_sizes=(1,), sequence_lengths=(8,), rounds=2, memory=False)
    ).to_json()
    (folder / "validation.json").write_text(json.dumps(validation), encoding="utf-8")
    (folder / "bench.json").write_text(json.dumps(timing), encoding="utf-8")
    return folder


def test_the_manifest_says_what_was_measured_of_this_model(work: Path, tmp_path: Path) -> None:
    reports = (work / "small" / "report.json", work / "validation.json", work / "bench.json")
    measured = package(work / "small", tmp_path / "b", PackageConfig(measured=reports)).manifest.document["measured"]
    assert set(measured) == {"optimization", "validation", "bench"}
    assert measured["optimization"]["method"] == "svd"
    assert 0 < measured["validation"]["cosine_similarity"] <= 1
    assert measured["validation"]["latency"]["cpu"]["candidate"]["p50_ms"] > 0
    assert [shape["sequence_length"] for shape in measured["bench"]["shapes"]] == [8]
    assert str(work) not in json.dumps(measured)


def test_a_report_on_another_model_is_refused(work: Path, tmp_path: Path) -> None:
    for name in ("validation.json", "small/report.json"):
        with pytest.raises(OptionError, match=r"\.json is about a model of other bytes"):
            package(work / "model", tmp_path / "b", PackageConfig(measured=(work / name,)))


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        ({}, "is no JSON of optimize, validate or bench"),
        ({"format": "squeeze-onnx/analysis/1"}, "is no JSON of optimize, validate or bench"),
        ({"format": "squeeze-onnx/validation/1"}, "is not a whole report"),
        ({"format": "squeeze-onnx/bench/1", "models": [1]}, "is not a whole report"),
    ],
    ids=["empty", "another kind", "cut short", "wrong inside"],
)
def test_what_is_no_report_is_refused(work: Path, tmp_path: Path, report: dict[str, Any], fault: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(OptionError, match=fault):
        package(work / "small", tmp_path / "b", PackageConfig(measured=(tmp_path / "r.json",)))
