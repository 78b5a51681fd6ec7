"""`validate` on inputs that were saved: pictures, and boxes beside words."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import Validation, validate
from squeeze_onnx.report.html import render_validation
from squeeze_onnx.support.errors import DataError, OptionError

CLASSES, SIDE = 3, 4
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((3 * SIDE * SIDE, CLASSES)).astype(np.float32)
PICTURES = RNG.standard_normal((10, 3, SIDE, SIDE)).astype(np.float32)


def write_classifier(folder: Path, weight: np.ndarray, batch: int | str = "batch") -> Path:
    """Write a classifier of pictures: all their entries times ``weight``."""
    folder.mkdir()
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    read = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])
    graph = helper.make_graph(nodes, "g", [read], [made], [numpy_helper.from_array(weight, "weight")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    return folder


def write_tagger(folder: Path, shift: float) -> Path:
    """Write a model of words in boxes: for every word the mean of its box, and that plus ``shift``."""
    folder.mkdir()
    nodes = [
        helper.make_node("Cast", ["bbox"], ["boxes"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["boxes"], ["means"], axes=[-1]),
        helper.make_node("Add", ["means", "shift"], ["shifted"]),
        helper.make_node("Concat", ["means", "shifted"], ["logits"], axis=-1),
        helper.make_node("Identity", ["attention_mask"], ["seen"]),
    ]
    shapes = {"attention_mask": ["batch", "words"], "bbox": ["batch", "words", 4]}
    read = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in shapes.items()]
    made = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "words", 2]),
        helper.make_tensor_value_info("seen", TensorProto.INT64, ["batch", "words"]),
    ]
    graph = helper.make_graph(nodes, "g", read, made, [numpy_helper.from_array(np.float32(shift), "shift")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    return folder


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
