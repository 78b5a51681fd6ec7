"""A metric of one's own: a function in the place of a name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import squeeze_onnx as so
from squeeze_onnx.evaluate.metrics import METRICS
from tests.text_models import write_classifier, write_tagger


def positives_found(references: np.ndarray, predictions: np.ndarray) -> float:
    return float(np.sum((predictions == 1) & (references == 1)) / max(np.sum(references == 1), 1))


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    labels = {"id2label": {"0": "negative", "1": "positive"}}
    return write_classifier(tmp_path / "classifier", {"good": (-1.0, 1.0), "bad": (1.0, -1.0)}, **labels)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    told = [("good", "positive"), ("bad", "negative"), ("bad", "positive"), ("good good", "positive")]
    lines = [json.dumps({"text": text, "label": label}) for text, label in told]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize("given", [positives_found, ("accuracy", positives_found)], ids=["alone", "beside a name"])
def test_a_function_scores_rows_and_every_resample_of_them(classifier: Path, rows: Path, given: Any) -> None:
    found = so.validate(classifier, classifier, data=rows, metric=given, latency_rounds=1)
    metric = found.to_json()["metrics"]["positives_found"]
    assert (metric["baseline"], metric["drop_points"]) == (pytest.approx(2 / 3), 0)
    assert "positives_found" not in METRICS


def test_a_name_of_this_package_is_refused(classifier: Path, rows: Path) -> None:
    def accuracy(references: np.ndarray, predictions: np.ndarray) -> float:
        return 0.0

    with pytest.raises(so.SqueezeError, match="`metric` accuracy is one of this package"):
        so.validate(classifier, classifier, data=rows, metric=accuracy)


def test_tags_are_no_numbers(tmp_path: Path) -> None:
    labels = {"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}, "architectures": ["BertForTokenClassification"]}
    tagger = write_tagger(tmp_path / "tagger", {"ann": (0, 1, 0), "runs": (1, 0, 0)}, **labels)
    (tmp_path / "tags.jsonl").write_text('{"tokens": ["ann", "runs"], "ner_tags": [1, 0]}\n', encoding="utf-8")
    with pytest.raises(
        so.SqueezeError, match=r"`metric` positives_found takes classes or scores, and .* scored as entities"
    ):
        so.validate(tagger, tagger, data=tmp_path / "tags.jsonl", metric=positives_found)
