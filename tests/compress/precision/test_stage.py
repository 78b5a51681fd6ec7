"""Precision as a stage of `optimize`: in the plan, in the report, in what is certified, and behind fusion."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.lowering import planned_precision
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.optimize import optimize
from tests.tiny_encoder import ELIGIBLE_SITES, SENTENCES, encoder_model, outputs, write_model_folder

PLAN = Plan("svd", {}, (), precision=PlannedPrecision("int8", ("layer.0/query",)))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    write_model_folder(folder / "model", encoder_model(classifier=True))
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    return folder


def config(**options: object) -> OptimizeConfig:
    return OptimizeConfig(**{"method": "svd", "keep": 0.5, "simulations": 1, **options})  # type: ignore[arg-type]


def operators(folder: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)


@pytest.fixture(scope="module")
def out(work: Path) -> Path:
    optimize(work / "model", work / "int8", config(precision="int8"), calibration=CalibrationConfig(str(work / "text")))
    return work / "int8"


class TestInt8:
    def test_the_report_names_every_site_and_what_it_does_to_the_outputs(self, out: Path) -> None:
        precision = json.loads((out / "report.json").read_text())["precision"]
        assert precision["name"] == "int8"
        names = {site["name"] for site in (*precision["sites"], *precision["kept"])}
        assert {"embedding", "pooler", "classifier", *ELIGIBLE_SITES} <= names
        assert all(site["damage"] >= 0 for site in precision["sites"])
        assert precision["bytes"]["after"] == (out / "model.onnx").stat().st_size
        assert "weights in int8" in (out / "report.html").read_text()

    def test_what_ships_is_certified(self, work: Path, out: Path) -> None:
        certificate = json.loads((out / "report.json").read_text())["certificate"]
        plain = optimize(work / "model", work / "plain", config(), calibration=CalibrationConfig(str(work / "text")))
        assert certificate["measured"] != plain["certificate"]["measured"]

    def test_the_plan_brings_the_precision_back(self, work: Path, out: Path) -> None:
        plan = read_plan(out / "plan.json")
        assert plan.precision.name == "int8"
        again = optimize(work / "model", work / "again", OptimizeConfig(simulations=1), plan=plan)
        assert again["precision"]["name"] == "int8"
        assert operators(work / "again") == operators(out)

    def test_fused_attention_leaves_its_weights_to_the_quantizer(self, work: Path) -> None:
        report = optimize(work / "model", work / "fused", config(precision="int8", fuse="cpu"))
        counts = operators(work / "fused")
        assert counts["MultiHeadAttention"] == report["fused"]["Attention"]["dense"] == 2
        assert counts["MatMul"] == counts["Attention"] == 0
        optimize(work / "model", work / "float", config())
        expected = outputs(work / "float")
        assert np.abs(outputs(work / "fused") - expected).max() < 0.1 * np.abs(expected).max()


def test_without_a_word_the_precision_of_the_plan_counts() -> None:
    assert planned_precision(PLAN, OptimizeConfig()) == PLAN.precision
    assert planned_precision(None, OptimizeConfig()) == PlannedPrecision("fp32")


def test_another_precision_than_the_plan_s_chooses_what_it_excludes_anew() -> None:
    assert planned_precision(PLAN, OptimizeConfig(precision="int8")) == PLAN.precision
    assert planned_precision(PLAN, OptimizeConfig(precision="int4")) == PlannedPrecision("int4", None)


@pytest.mark.parametrize("entry", ["int8", {"name": 8}, {"name": "int8", "kept": "all"}], ids=str)
def test_a_plan_with_a_broken_precision_is_refused(entry: object, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN.to_json() | {"precision": entry}))
    with pytest.raises(OptionError, match='"precision" is'):
        read_plan(tmp_path / "plan.json")


def test_a_plan_with_an_unknown_precision_is_refused(work: Path) -> None:
    plan = read_plan_with(work, PlannedPrecision("int2"))
    with pytest.raises(OptionError, match="'int2' is unknown"):
        optimize(work / "model", work / "never", OptimizeConfig(simulations=1), plan=plan)


def read_plan_with(work: Path, precision: PlannedPrecision) -> Plan:
    optimize(work / "model", work / "unknown", config())
    document = json.loads((work / "unknown" / "plan.json").read_text()) | {"precision": precision.to_json()}
    (work / "int2.json").write_text(json.dumps(document))
    return read_plan(work / "int2.json")


def test_int8_is_for_the_cpu() -> None:
    with pytest.raises(OptionError, match="`precision` int8 has no kernels on cuda; leave out `fuse` cuda"):
        OptimizeConfig(precision="int8", fuse="cuda")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(
        OptionError, match="`precision` is one of fp32, fp16, int8, int8-static, int8-int4, int4; got 'int2'"
    ):
        OptimizeConfig(precision="int2")
