"""`validate` on inputs that were saved: pictures, and boxes beside words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import Validation, validate
from squeeze_onnx.report.html import render_validation
from squeeze_onnx.support.errors import DataError, OptionError
from tests.saved_input_models import PICTURES, RNG, WEIGHT, write_classifier, write_tagger


def compared(tmp_path: Path, baseline: Path, candidate: Path, /, **arrays: Any) -> Validation:
    np.savez(tmp_path / "inputs.npz", **arrays)
    return validate(baseline, candidate, ValidateConfig(data=tmp_path / "inputs.npz", latency_rounds=1, batch_size=4))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("batch", ["batch", 5], ids=["any batch", "batches of five"])
def test_pictures_are_answered_alike_or_not(tmp_path: Path, batch: int | str) -> None:
    other = WEIGHT + np.float32(0.3) * RNG.standard_normal(WEIGHT.shape).astype(np.float32)
    models = write_classifier(tmp_path / "a", WEIGHT, batch), write_classifier(tmp_path / "b", other, batch)
    validation = compared(tmp_path, *models, pixel_values=PICTURES)
    report = validation.to_json()
    flat = PICTURES.reshape(len(PICTURES), -1)
    same = (flat @ WEIGHT).argmax(axis=1) == (flat @ other).argmax(axis=1)
    assert report["agreement"] == pytest.approx(same.mean())
    assert report["data"]["rows"] == {"samples": 10}
    assert (report["data"]["tokenizer"], report["data"]["max_tokens"], report["task"]) == (None, None, None)
    assert report["latency"]["cpu"]["batch_size"] == (1 if batch == "batch" else 5)
    assert "Fidelity on cpu" in render_validation(report)


def test_padding_has_no_say_in_what_is_said_of_words(tmp_path: Path) -> None:
    """The second word of the first sample is padding, where the models differ in nothing that counts."""
    boxes = RNG.integers(1, 50, (2, 2, 4))
    boxes[0, 1] = 10**6
    mask = np.array([[1, 0], [1, 1]])
    models = write_tagger(tmp_path / "a", 1.0), write_tagger(tmp_path / "b", -1.0)
    report = compared(tmp_path, *models, bbox=boxes, attention_mask=mask).to_json()
    assert report["agreement"] == 0
    assert report["max_abs_diff"] < 10


@pytest.mark.parametrize(
    ("options", "named"),
    [({"max_drop": 1.0}, "max_drop"), ({"metrics": ("f1",)}, "metrics"), ({"robustness": True}, "robustness")],
)
def test_what_takes_texts_or_labels_is_refused(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    model = write_classifier(tmp_path / "a", WEIGHT)
    np.savez(tmp_path / "inputs.npz", pixel_values=PICTURES)
    with pytest.raises(OptionError, match=f"neither texts nor labels: leave out `{named}`"):
        validate(model, model, ValidateConfig(data=tmp_path / "inputs.npz", **options))


def test_other_inputs_than_the_models_are_named(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "a", WEIGHT)
    with pytest.raises(DataError, match=r"`data` .*inputs.npz holds pixels; the model takes pixel_values"):
        compared(tmp_path, model, model, pixels=PICTURES)
