"""The last look, and the certificate, are those of text which nothing that made the squeezed model has read."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig, load_calibration
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.held_back import IN_SAMPLE, held_back_of
from squeeze_onnx.compress.looker import certificate_of
from squeeze_onnx.compress.refit import refit_sites
from squeeze_onnx.compress.squeezing import squeeze
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.support.errors import LastLookError
from tests.tiny_encoder import WORDS, write_model_folder

CONFIG = OptimizeConfig(method="whiten", keep=0.4, simulations=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("certification") / "model")


@pytest.fixture(scope="module")
def text(model: Path) -> str:
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(3, 12, 300)]
    model.with_name("text").write_text("\n".join(sentences), encoding="utf-8")
    return str(model.with_name("text"))


def test_what_learned_few_texts_by_heart_is_found_out(model: Path, text: str) -> None:
    squeezed, dense = load_model(model), load_model(model)
    calibration = load_calibration(squeezed, CalibrationConfig(text, rows=10))
    found = squeeze(squeezed, CONFIG, calibration).certificate
    in_sample = certificate_of(Context(dense, batches=calibration[:]), squeezed.ir)
    assert found is not None and found.measured is not None and in_sample.measured is not None
    assert (found.texts, found.held_back) == (256, True)
    assert (in_sample.texts, in_sample.held_back) == (10, False)
    assert found.measured.mean > 2 * in_sample.measured.mean


def test_it_says_so_where_nothing_could_be_held_back(model: Path, text: str) -> None:
    squeezed = load_model(model)
    batches = load_calibration(squeezed, CalibrationConfig(text, rows=10))[:]
    certificate = squeeze(squeezed, CONFIG, batches).certificate
    assert certificate is not None
    assert (certificate.texts, certificate.held_back) == (10, False)
    assert certificate.notes[-1] == IN_SAMPLE


def test_what_is_held_back_changes_no_weight(model: Path, text: str) -> None:
    def run(*, held_back: bool) -> OnnxModel:
        squeezed = load_model(model)
        calibration = load_calibration(squeezed, CalibrationConfig(text, rows=40))
        assert held_back_of(calibration)
        squeeze(
            squeezed, OptimizeConfig(keep=0.4, distill=2, simulations=1), calibration if held_back else calibration[:]
        )
        return squeezed

    with_text, without = (run(held_back=held_back) for held_back in (True, False))
    for name, weight in with_text.ir.graph.initializers.items():
        other = without.ir.graph.initializers[name]
        assert weight.const_value is not None and other.const_value is not None
        np.testing.assert_array_equal(weight.const_value.numpy(), other.const_value.numpy())


class TestSqueeze:
    """A model in memory is looked at too."""

    def test_says_what_was_predicted_and_what_was_found(self, model: Path, text: str) -> None:
        squeezed = load_model(model)
        calibration = load_calibration(squeezed, CalibrationConfig(text, rows=40))
        look = squeeze(squeezed, replace(CONFIG, distill=2), calibration).last_look
        assert look is not None
        assert (look.texts, look.held_back, look.verdict) == (256, True, "as predicted")
        squeezing, distillation = look.steps
        assert squeezing.predicted is not None and squeezing.error is not None
        assert 0.2 < squeezing.error / squeezing.predicted < 5
        assert distillation.error == look.to_json()["measured"]

    def test_of_a_plan_that_is_applied_again_predicts_nothing(self, model: Path, text: str) -> None:
        squeezed, again = load_model(model), load_model(model)
        calibration = load_calibration(squeezed, CalibrationConfig(text, rows=40))
        plan = squeeze(squeezed, CONFIG, calibration).plan
        look = squeeze(again, CONFIG, calibration, plan=plan).last_look
        assert look is not None
        assert look.steps[0].predicted is None and look.steps[0].error is not None

    def test_raises_what_a_step_broke_unless_forced(
        self, model: Path, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refit(squeezed: ir.Model, *arguments: Any, **rest: Any) -> Any:
            errors = refit_sites(squeezed, *arguments, **rest)
            for value in squeezed.graph.initializers.values():
                assert value.const_value is not None
                array = value.const_value.numpy()
                if "layer.1" in str(value.name) and array.ndim == 2:
                    value.const_value = ir.tensor((-3 * array).astype(array.dtype), name=value.name)
            return errors

        monkeypatch.setattr("squeeze_onnx.compress.squeezing.refit_sites", refit)
        calibration = load_calibration(load_model(model), CalibrationConfig(text, rows=40))
        with pytest.raises(LastLookError, match=r"on 256 texts that were held back squeezing moves the outputs by"):
            squeeze(load_model(model), CONFIG, calibration)
        look = squeeze(load_model(model), replace(CONFIG, force_write=True), calibration).last_look
        assert look is not None and look.broken is look.steps[0]

    def test_without_data_runs_nothing(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        assert squeeze(load_model(model), OptimizeConfig(method="svd", keep=0.5, simulations=1)).last_look is None
