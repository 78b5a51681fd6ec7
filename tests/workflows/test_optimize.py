"""The stages together, as Python callers use them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

import squeeze_onnx
from squeeze_onnx.compress import usual_text
from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Factored
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.squeezing import carry_out, plan_for, squeeze
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.compress.text_amounts import Amount
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.support.errors import ModelError, OptionError, OutputError
from squeeze_onnx.workflows.optimize import analyze, optimize
from tests.folders import snapshot
from tests.tiny_encoder import (
    ELIGIBLE_PARAMETERS,
    ELIGIBLE_SITES,
    SENTENCES,
    WORDS,
    batch,
    encoder_model,
    outputs,
    weights_of,
    write_model_folder,
)
from tests.tiny_models import external_tensor, matmul_model, write
from tests.tracks import RecordingTrack

QUICK = OptimizeConfig(method="svd", keep=0.5, simulations=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model")


@pytest.fixture
def model(folder: Path) -> OnnxModel:
    return load_model(folder)


def weights(result: SqueezeResult) -> dict[str, np.ndarray]:
    return weights_of(ir.to_proto(result.model.ir))


class TestAnalyze:
    def test_changes_no_file_and_says_how_long_it_took(self, folder: Path) -> None:
        before, track = snapshot(folder), RecordingTrack()
        report = analyze(folder, AnalyzeConfig(simulations=1), track)
        assert snapshot(folder) == before
        assert set(report["timing"]) == {"load", "sites", "spectra"}
        assert track.taken == {"Noise": 3, "Spectra": len(ELIGIBLE_SITES) + 1}

    def test_skips_what_is_excluded_and_looks_at_all_else(self, folder: Path) -> None:
        report = analyze(folder, AnalyzeConfig(simulations=1, exclude=("query",)))
        names = [site["name"] for site in report["sites"]]
        assert names == ["embedding", *(site for site in ELIGIBLE_SITES if not site.endswith("query"))]

    def test_of_a_model_without_weights_is_refused(self, tmp_path: Path) -> None:
        path = write(matmul_model(nodes=[helper.make_node("Relu", ["x"], ["y"])]), tmp_path / "model.onnx")
        with pytest.raises(ModelError, match="has no eligible MatMul, Gemm or Gather with a constant weight at all"):
            analyze(path)


class TestSqueeze:
    def test_rewrites_every_eligible_site_in_place(self, model: OnnxModel) -> None:
        result = squeeze(model, QUICK)
        assert result.model is model
        assert list(result.errors) == list(ELIGIBLE_SITES)
        assert [measured.site.name for measured in result.spectra] == list(ELIGIBLE_SITES)
        assert {f"{site}/left" for site in ELIGIBLE_SITES} <= set(weights(result))
        assert not {f"{site}.weight" for site in ELIGIBLE_SITES} & set(weights(result))
        assert result.plan.eligible_parameters == ELIGIBLE_PARAMETERS

    def test_without_a_configuration_keeps_three_quarters(self, model: OnnxModel) -> None:
        plan = squeeze(model).plan
        assert (plan.method, plan.budget) == ("svd", {"keep": 0.75})
        assert plan.kept_parameters <= 0.75 * ELIGIBLE_PARAMETERS

    def test_carries_out_a_plan_as_it_stands(self, folder: Path, model: OnnxModel) -> None:
        plan = squeeze(model, QUICK).plan
        edited = replace(plan, sites=(replace(plan.sites[2], form=Factored(5)), plan.sites[0]))
        result = squeeze(load_model(folder), OptimizeConfig(keep=0.1, simulations=1), plan=edited)
        assert result.plan is edited
        assert list(result.errors) == ["layer.0/value", "layer.0/query"]
        assert weights(result)["layer.0/value/left"].shape == (32, 5)

    def test_refuses_a_plan_whose_method_nobody_knows_or_that_lacks_its_data(
        self, folder: Path, model: OnnxModel
    ) -> None:
        plan = squeeze(model, QUICK).plan
        with pytest.raises(OptionError, match="the plan's method 'magic' is unknown; known methods are squeeze, svd"):
            squeeze(load_model(folder), plan=replace(plan, method="magic"))
        with pytest.raises(OptionError, match="looks at activations"):
            squeeze(load_model(folder), plan=replace(plan, method="whiten"))

    def test_by_activations_needs_some(self, model: OnnxModel) -> None:
        with pytest.raises(OptionError, match="`method` whiten looks at activations"):
            squeeze(model, replace(QUICK, method="whiten"))

    def test_by_activations_loses_less_of_the_output(self, folder: Path) -> None:
        def lost(method: str) -> float:
            out = folder.with_name(method)
            inputs = folder.with_name("inputs.npz")
            np.savez(inputs, input_ids=batch()["input_ids"], attention_mask=batch()["attention_mask"])
            config = OptimizeConfig(method=method, keep=0.3, simulations=1)
            optimize(folder, out, config, calibration=CalibrationConfig(str(inputs)))
            shown = batch()["attention_mask"] > 0
            return float(np.linalg.norm((outputs(out) - outputs(folder))[shown]))

        assert lost("whiten") < lost("svd")

    def test_twice_from_the_same_file_gives_the_same_weights(self, folder: Path) -> None:
        first, second = (weights(squeeze(load_model(folder), QUICK)) for _ in range(2))
        assert all(np.array_equal(first[name], second[name]) for name in first)

    def test_keeps_half_precision(self, folder: Path) -> None:
        half = write_model_folder(folder.with_name("half"), encoder_model(dtype=np.float16))
        for source in (folder, half):
            optimize(source, source.with_name(f"{source.name}-out"), QUICK)
        written = weights_of(onnx.load(half.with_name("half-out") / "model.onnx"))
        assert {array.dtype for name, array in written.items() if "/" in name} == {np.dtype(np.float16)}
        halved, full = outputs(half.with_name("half-out")), outputs(folder.with_name("model-out"))
        np.testing.assert_allclose(halved, full, atol=0.05)

    def test_by_a_preset_narrows_the_roles(self, model: OnnxModel) -> None:
        plan = squeeze(model, OptimizeConfig(preset="paper-ffn", simulations=1)).plan
        assert (plan.method, plan.budget) == ("squeeze", {"preset": "paper-ffn"})
        assert {site.role for site in plan.sites} == {"ffn_in", "ffn_out"}
        assert len(plan.skipped) == 1 + len(ELIGIBLE_SITES) - len(plan.sites)

    def test_by_the_preset_of_the_file_size_takes_8_percent_of_the_file(self, folder: Path) -> None:
        plan = squeeze(load_model(folder), OptimizeConfig(preset="paper-size", simulations=1)).plan
        removed = 4 * (plan.eligible_parameters - plan.kept_parameters)
        assert removed == pytest.approx(0.081 * (folder / "model.onnx").stat().st_size, rel=0.05)

    def test_of_a_model_with_nothing_eligible_says_why(self, tmp_path: Path) -> None:
        path = write(matmul_model(), tmp_path / "model.onnx")
        with pytest.raises(ModelError, match=r"model\.onnx has no eligible .*; linear: role .* is not eligible here"):
            squeeze(load_model(path))


class TestSurvey:
    def test_serves_several_budgets_and_leaves_the_model(self, folder: Path, model: OnnxModel) -> None:
        survey = take_survey(Context(model, QUICK))
        assert set(weights_of(ir.to_proto(model.ir))) == set(weights_of(encoder_model()))
        for keep in (0.3, 0.6):
            config = replace(QUICK, keep=keep)
            copy = load_model(folder)
            result = carry_out(Context(copy), plan_for(Context(model, config), survey), survey)
            alone = squeeze(load_model(folder), config)
            assert result.plan == alone.plan
            assert all(np.array_equal(array, weights(alone)[name]) for name, array in weights(result).items())


class TestOptimize:
    def test_returns_what_it_writes(self, folder: Path, tmp_path: Path) -> None:
        report = optimize(folder, tmp_path / "out", QUICK)
        assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
        plan = read_plan(tmp_path / "out" / "plan.json")
        assert plan.kept_parameters == report["size"]["kept_eligible_parameters"]

    def test_tracks_what_takes_time(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
        track, config = RecordingTrack(), OptimizeConfig(keep=0.5, simulations=1)
        source = CalibrationConfig(str(tmp_path / "text"), batch_size=2)
        report = optimize(folder, tmp_path / "out", config, calibration=source, track=track)
        values_read = 8  # in each of two layers: by query, key and value together, by attention_output, ffn_in, ffn_out
        assert track.taken == {
            "Calibration": 2,
            "Blocks": 6,  # in each of two layers: query and key, value and output, the feed-forward block
            "Noise": 2,  # shapes
            "Sensitivity": 2,  # layers
            "Refitting": values_read,
            "Last look": 2,
        }
        assert set(report["timing"]) >= {"load", "sites", "calibration", "sensitivity", "rewrite", "save"}

    @pytest.mark.parametrize(
        ("config", "read"),
        [
            (QUICK, 2),
            (replace(QUICK, distill=1), 3),
            (replace(QUICK, method="soco"), 3),
            (replace(QUICK, method="auto"), 2),
        ],
        ids=["a method that only looks", "distillation", "a method that learns", "auto"],
    )
    def test_reads_more_text_where_weights_learn_on_it(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: OptimizeConfig, read: int
    ) -> None:
        monkeypatch.setattr(usual_text, "TO_CALIBRATE", Amount(4))
        monkeypatch.setattr(usual_text, "TO_DISTILL", Amount(6))
        (tmp_path / "text.txt").write_text("\n".join((*SENTENCES, *WORDS[:4])), encoding="utf-8")
        track, source = RecordingTrack(), CalibrationConfig(str(tmp_path / "text.txt"), batch_size=2)
        optimize(folder, tmp_path / "out", config, calibration=source, track=track)
        assert track.taken["Last look"] == read

    def test_of_labels_of_their_own_each_learns_by_their_own_divergence(self, tmp_path: Path) -> None:
        several = {"problem_type": "multi_label_classification", "architectures": ["BertForSequenceClassification"]}
        model = write_model_folder(tmp_path / "model", encoder_model(classifier=True), **several)
        (tmp_path / "texts.txt").write_text("\n".join((*SENTENCES, *WORDS)), encoding="utf-8")
        config = OptimizeConfig(keep=0.5, distill=20)
        text = CalibrationConfig(str(tmp_path / "texts.txt"), batch_size=2)
        report = optimize(model, tmp_path / "out", config, calibration=text)
        assert report["settings"]["method"] == "fisher"
        assert report["certificate"]["measure"] == "label probability change"
        assert report["distillation"]["after"] < report["distillation"]["before"]  # a divergence

    def test_of_a_model_with_external_data_writes_one_file(self, tmp_path: Path) -> None:
        weight = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
        tensor = external_tensor("W", "w.bin", weight)
        write(matmul_model(tensor), tmp_path / "model" / "model.onnx", w=weight.tobytes())
        config = replace(QUICK, include=("classifier", "other"))
        optimize(tmp_path / "model", tmp_path / "out", config)
        assert not list((tmp_path / "out").glob("*.bin"))
        factors = weights_of(onnx.load(tmp_path / "out" / "model.onnx"))
        values = np.linalg.svd(weight, compute_uv=False)
        error = np.linalg.norm(weight - factors["linear/left"] @ factors["linear/right"])
        assert error == pytest.approx(np.linalg.norm(values[factors["linear/left"].shape[1] :]), rel=1e-4)

    def test_of_a_tied_weight_rewrites_all_its_uses(self, tmp_path: Path) -> None:
        square = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
        nodes = [
            helper.make_node("MatMul", ["x", "W"], ["h"], name="first"),
            helper.make_node("MatMul", ["h", "W"], ["y"], name="second"),
        ]
        path = write(matmul_model(numpy_helper.from_array(square, "W"), nodes=nodes), tmp_path / "model.onnx")
        optimize(path, tmp_path / "out", replace(QUICK, include=("classifier", "other")))
        written = onnx.load(tmp_path / "out" / "model.onnx")
        assert [node.op_type for node in written.graph.node] == ["MatMul"] * 4
        assert len(written.graph.initializer) == 2

    def test_leaves_weights_in_subgraphs_and_says_so(self, tmp_path: Path) -> None:
        branch = helper.make_graph(
            [helper.make_node("MatMul", ["x", "W"], ["inner"], name="inside")],
            "branch",
            [],
            [helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, ["b", 4])],
        )
        square = numpy_helper.from_array(np.eye(8, dtype=np.float32), "V")
        weight = numpy_helper.from_array(np.ones((8, 4), np.float32), "W")
        condition = numpy_helper.from_array(np.array(True), "yes")
        nodes = [
            helper.make_node("MatMul", ["x", "V"], ["h"], name="outside"),
            helper.make_node("If", ["yes"], ["i"], then_branch=branch, else_branch=branch),
        ]
        proto = matmul_model(square, weight, condition, nodes=nodes, outputs=("h", "i"))
        report = optimize(
            write(proto, tmp_path / "model.onnx"), tmp_path / "out", replace(QUICK, include=("classifier", "other"))
        )
        assert [site["name"] for site in report["sites"]] == ["outside"]
        assert "lies in the body of an If" in report["skipped"][0]["reason"]

    def test_refuses_to_replace_its_input(self, folder: Path) -> None:
        before = snapshot(folder)
        with pytest.raises(OutputError, match="would replace the input"):
            optimize(folder, folder, QUICK, force=True)
        assert snapshot(folder) == before

    def test_leaves_nothing_when_a_stage_fails(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> str:
            raise RuntimeError("the last thing that is written")

        monkeypatch.setattr("squeeze_onnx.workflows.result_folder.render_optimization", fail)
        before = snapshot(tmp_path)
        with pytest.raises(RuntimeError):
            optimize(folder, tmp_path / "out", QUICK)
        assert snapshot(tmp_path) == before


def test_the_package_hands_out_its_pipeline() -> None:
    assert squeeze_onnx.OptimizeConfig is OptimizeConfig
    with pytest.raises(AttributeError, match="has no attribute 'squash'"):
        squeeze_onnx.squash  # noqa: B018
