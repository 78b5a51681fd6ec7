"""What judges distillation is read by nothing that learns before it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import squeeze_onnx.compress.survey
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.soco.learn import SpectrumLearning, learn_spectra
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.compress.survey_cache import survey_key
from squeeze_onnx.compress.validation_text import text_to_learn_on
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.support.errors import OptionError
from tests.tiny_encoder import batch, write_model_folder


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return load_model(write_model_folder(tmp_path / "model"))


@pytest.fixture(scope="module")
def text() -> list[CalibrationBatch]:
    feeds = batch()
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    return [CalibrationBatch({**feeds, "input_ids": np.roll(ids, shift) * mask}, mask) for shift in range(4)]


def test_all_text_is_learned_on_unless_distillation_follows(text: list[CalibrationBatch]) -> None:
    assert text_to_learn_on(text, OptimizeConfig()) == text
    assert text_to_learn_on(text, OptimizeConfig(distill="auto")) == text[:3]


def test_a_single_batch_leaves_nothing_to_learn_on(text: list[CalibrationBatch]) -> None:
    with pytest.raises(OptionError, match="give more calibration text"):
        text_to_learn_on(text[:1], OptimizeConfig(distill=3))


@pytest.mark.parametrize("distill", [None, 3])
def test_soco_learns_on_it(
    model: OnnxModel, text: list[CalibrationBatch], monkeypatch: pytest.MonkeyPatch, distill: int | None
) -> None:
    learned_on: list[CalibrationBatch] = []

    def listen(dense: Any, spectra: Any, weighting: Any, teaching: Teaching, **options: Any) -> SpectrumLearning:
        learned_on.extend(teaching.batches)
        return learn_spectra(dense, spectra, weighting, teaching, **options)

    monkeypatch.setattr(squeeze_onnx.compress.survey, "learn_spectra", listen)
    config = OptimizeConfig(method="soco", keep=0.5, simulations=1, distill=distill)
    take_survey(Context(model, config, text))
    assert learned_on == list(text_to_learn_on(text, config))


def test_a_survey_of_soco_is_cached_by_the_text_it_learned_on(model: OnnxModel, text: list[CalibrationBatch]) -> None:
    keys = {
        method: [
            survey_key(Context(model, OptimizeConfig(method=method, distill=steps), text)) for steps in (None, 3, 4)
        ]
        for method in ("soco", "whiten")
    }
    plain, few, more = keys["soco"]
    assert plain != few == more
    assert len(set(keys["whiten"])) == 1
