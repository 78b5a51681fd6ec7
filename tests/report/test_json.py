"""report.json: what the design promises, and plain values only."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.eligibility import Eligibility
from squeeze_onnx.compress.lowering import Finished
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.squeezing import squeeze
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.io.size import ModelSize, measure_size
from squeeze_onnx.graph.match.sites import SkippedSite
from squeeze_onnx.report.json import Sizes, analysis_report, optimization_report
from tests.tiny_encoder import ELIGIBLE_SITES, write_model_folder

CONFIG = OptimizeConfig(method="svd", keep=0.5, exclude=("key",), simulations=1)
AFTER = ModelSize(bytes=3, parameters=2, sha256={"model.onnx": "ab"})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> ModelSize:
    return measure_size(load_model(write_model_folder(tmp_path_factory.mktemp("report") / "model")))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SqueezeResult:
    return squeeze(load_model(write_model_folder(tmp_path_factory.mktemp("report") / "model")), CONFIG)


@pytest.fixture(scope="module")
def report(before: ModelSize, result: SqueezeResult) -> dict[str, Any]:
    named = replace(result, model=replace(result.model, path=Path("models/bert/model.onnx")))
    return optimization_report(CONFIG, named, finished(result), Sizes(before, AFTER), {"load": 0.25})


def finished(result: SqueezeResult) -> Finished:
    return Finished(result.model, result.plan, None, {"name": "fp32"})


class TestOptimization:
    def test_is_plain_json_of_finite_numbers(self, report: dict[str, Any]) -> None:
        assert json.loads(json.dumps(report, allow_nan=False)) == report

    def test_tells_sizes_before_and_after(
        self, report: dict[str, Any], before: ModelSize, result: SqueezeResult
    ) -> None:
        assert report["size"] == {
            "baseline_bytes": before.bytes,
            "optimized_bytes": 3,
            "baseline_parameters": before.parameters,
            "optimized_parameters": 2,
            "eligible_parameters": result.plan.eligible_parameters,
            "kept_eligible_parameters": result.plan.kept_parameters,
        }
        assert report["files"] == {"baseline": dict(before.sha256), "optimized": {"model.onnx": "ab"}}

    def test_says_what_was_asked_for_and_what_was_left_out(self, report: dict[str, Any]) -> None:
        assert (report["format"], report["method"], report["budget"]) == ("squeeze-onnx/report/1", "svd", {"keep": 0.5})
        assert OptimizeConfig.from_json(report["config"]) == CONFIG

    def test_says_what_it_is_about_and_what_was_carried_out(self, report: dict[str, Any]) -> None:
        assert report["model"] == {"name": "bert", "path": "models/bert/model.onnx"}
        assert datetime.fromisoformat(report["created"]).tzinfo is UTC
        asked, settings = report["config"], report["settings"]
        changed = {"refit": (None, False), "precision": (None, "fp32"), "target_cpu": (None, "any")}
        assert {key: (asked[key], settings[key]) for key in asked if asked[key] != settings[key]} == changed
        assert report["timing"] == {"load": 0.25}
        assert {"name": "layer.0/key", "reason": "role key is excluded"} in report["skipped"]

    def test_has_a_site_for_every_line_of_the_plan(self, report: dict[str, Any], result: SqueezeResult) -> None:
        assert [site["name"] for site in report["sites"]] == [name for name in ELIGIBLE_SITES if "key" not in name]
        for site, planned in zip(report["sites"], result.plan.sites, strict=True):
            assert (site["layer"], site["role"], site["rank"]) == (planned.layer, planned.role, planned.rank)
            assert (site["shape"], site["reason"]) == (list(planned.shape), planned.reason)

    def test_has_each_spectrum_before_and_after(self, report: dict[str, Any], result: SqueezeResult) -> None:
        for site, measured in zip(report["sites"], result.spectra, strict=True):
            spectrum, errors = site["spectrum"], result.errors[site["name"]]
            assert spectrum["tw_edge"] == measured.summary.tw_edge
            assert spectrum["effective_rank_after"] == errors.effective_rank_after < spectrum["effective_rank"]
            assert 0 < spectrum["energy_kept"] == errors.energy_kept < 1
            assert set(spectrum["by_noise_estimator"]) == {"entries", "median", "bulk"}
            assert site["relative_error"] == errors.relative_error > 0

    def test_has_what_is_drawn_of_each_spectrum(self, report: dict[str, Any], result: SqueezeResult) -> None:
        for site, measured in zip(report["sites"], result.spectra, strict=True):
            spectrum, values = site["spectrum"], measured.standardized.singular_values
            histogram, curve = spectrum["histogram"], spectrum["energy_curve"]
            assert sum(histogram["counts"]) + histogram["beyond"] == len(values)
            assert np.count_nonzero(values > spectrum["cut"]) == site["rank"]
            assert (curve["ranks"][0], curve["energy"][0], curve["energy"][-1]) == (0, 0, 1)
            assert curve["energy"][curve["ranks"].index(site["rank"])] == pytest.approx(
                spectrum["energy_kept"], rel=1e-4
            )

    def test_a_site_left_dense_loses_nothing(self, before: ModelSize, result: SqueezeResult) -> None:
        whole = replace(result, errors={})
        report = optimization_report(CONFIG, whole, finished(whole), Sizes(before, AFTER), {})
        for site in report["sites"]:
            spectrum = site["spectrum"]
            assert (site["weighted_error"], site["relative_error"], site["weight_cosine"]) == (0, 0, 1)
            assert spectrum["energy_kept"] == 1
            assert spectrum["effective_rank_after"] == spectrum["effective_rank"]
            assert spectrum["stable_rank_after"] == spectrum["stable_rank"]


def test_an_analysis_says_which_sites_are_eligible(tmp_path: Path, before: ModelSize, result: SqueezeResult) -> None:
    config = AnalyzeConfig(simulations=1)
    report = analysis_report(
        model=Path("models/bert/model.onnx"),
        config=config,
        spectra=result.spectra,
        eligibility=Eligibility((result.spectra[0].site,), (SkippedSite("pooler", "because"),)),
        size=before,
        timing={"load": 0.5},
    )
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["format"] == "squeeze-onnx/analysis/1"
    assert [site["name"] for site in report["sites"] if site["eligible"]] == [result.spectra[0].site.name]
    assert report["size"] == {
        "baseline_bytes": before.bytes,
        "baseline_parameters": before.parameters,
        "eligible_parameters": 32 * 32,
    }
    assert report["skipped"] == [{"name": "pooler", "reason": "because"}]
    assert {site["uses"] for site in report["sites"]} == {1}
