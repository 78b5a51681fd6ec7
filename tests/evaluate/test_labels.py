"""Models whose texts have any number of labels, as config.json says: how they are read, scored and compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.evaluate.answer_heads import LabelLogits
from squeeze_onnx.evaluate.robustness import likeness
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import DataError
from tests.text_models import Vectors, write_classifier

MOODS: Vectors = {"fun": (2.0, -1.0, 0.0), "sad": (-1.0, 2.0, 0.0), "film": (-0.5, -0.5, -0.5)}
NAMED = {
    "id2label": {"0": "joy", "1": "grief", "2": "fear"},
    "problem_type": "multi_label_classification",
    "architectures": ["BertForSequenceClassification"],
}
TEXTS = ("fun film", "sad film", "fun sad", "film")
SAID: tuple[list[int], ...] = ([0], [1], [0, 1], [])
WANTED: tuple[list[int], ...] = ([0], [1, 2], [0, 1], [0])
"""Four labels are said, all of them right, and six are wanted."""


def score(folder: Path, rows: list[Any], moods: Vectors | None = None, **options: Any) -> dict[str, Any]:
    model = write_classifier(folder / "model", MOODS, **NAMED)
    candidate = model if moods is None else write_classifier(folder / "other", moods, **NAMED)
    data = folder / "rows.jsonl"
    data.write_text(
        "".join(json.dumps({"text": text, "labels": row}) + "\n" for text, row in zip(TEXTS, rows, strict=True))
    )
    return validate(model, candidate, ValidateConfig(data=data, latency_rounds=1, **options)).to_json()


@pytest.mark.parametrize(
    "written",
    [
        list,
        lambda row: [("joy", "grief", "fear")[number] for number in row],
        lambda row: ", ".join(("Joy", "grief", "fear")[number] for number in row),
        lambda row: "|".join(map(str, row)),
        lambda row: [int(number in row) for number in range(3)],
    ],
    ids=["numbers", "names", "a cell of names", "a cell of numbers", "0 or 1 for each"],
)
def test_labels_are_read_however_they_are_written(tmp_path: Path, written: Any) -> None:
    report = score(tmp_path, [written(row) for row in WANTED])
    assert report["head"] == "label_logits"
    found = {name: metric["baseline"] for name, metric in report["metrics"].items()}
    assert found == pytest.approx({"labels_f1": 0.8, "labels_f1_macro": (0.8 + 1 + 0) / 3, "labels_accuracy": 0.5})


def test_metrics_are_called_as_those_of_classes_too(tmp_path: Path) -> None:
    report = score(tmp_path, list(WANTED), metrics=("f1_micro", "accuracy"))
    assert list(report["metrics"]) == ["labels_f1", "labels_accuracy"]


def test_what_all_logits_share_is_seen(tmp_path: Path) -> None:
    shifted = {word: np.asarray(vector) + 1 for word, vector in MOODS.items()}
    report = score(tmp_path, list(SAID), {word: tuple(vector) for word, vector in shifted.items()})
    assert report["metrics"]["labels_f1"]["baseline"] == 1
    assert report["metrics"]["labels_f1"]["candidate"] < 1
    assert report["agreement"] < 1
    assert report["mean_kl"] > 0.1


def test_an_unknown_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"rows.jsonl line 1: label 'bliss' is none of the model's: joy, grief, fear, or 0 to 2"
    ):
        score(tmp_path, [["bliss"], [], [], []], metrics=("f1",))


def test_likeness_is_sorted_by_the_least_certain_label() -> None:
    dense = np.array([[4.0, -4.0], [0.1, -4.0]])
    found = likeness(LabelLogits("y"), dense, np.array([[4.0, -4.0], [-0.1, -4.0]]))
    assert (found.by, found.measure) == ("confidence", "agreement")
    assert [group.likeness for group in found.groups] == [0, 1]
