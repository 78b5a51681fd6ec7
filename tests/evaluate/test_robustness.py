"""Robustness: tenths, calibration error, and perturbed texts through whole models."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.evaluate.answer_heads import ClassLogits, ScoreHead, SentenceEmbedding
from squeeze_onnx.evaluate.perturbations import LEVELS, PERTURBATIONS
from squeeze_onnx.evaluate.robustness import calibration_error, likeness, tenths
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from tests.text_models import Vectors, write_classifier, write_encoder

SENTIMENT: Vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "film": (0.0, 0.0)}
BLUNT: Vectors = {**SENTIMENT, "good": (-0.2, 0.1)}


class TestTenths:
    def test_are_of_equal_size_and_in_order(self) -> None:
        order = np.random.default_rng(0).permutation(25).astype(float)
        groups = tenths(order, order)
        assert [group.texts for group in groups] == [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]
        assert groups[0].low == 0
        assert groups[-1].high == 24
        assert all(group.low <= group.likeness <= group.high for group in groups)

    def test_are_fewer_if_there_are_fewer_texts(self) -> None:
        assert [group.texts for group in tenths(np.arange(3.0), np.ones(3))] == [1, 1, 1]


class TestCalibrationError:
    def test_of_a_model_that_is_always_right_and_sure_is_0(self) -> None:
        assert calibration_error(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1])) == 0

    def test_of_a_model_that_is_always_wrong_and_sure_is_1(self) -> None:
        assert calibration_error(np.eye(2)[[0, 1, 1]], np.array([1, 0, 0])) == 1

    def test_is_the_gap_in_each_bin(self) -> None:
        """Two bins: 0.9 sure and right half of the time, 0.6 sure and always right."""
        p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
        assert calibration_error(p, np.array([0, 1, 1, 1])) == pytest.approx((abs(0.5 - 0.9) + abs(1 - 0.6)) / 2)

    def test_of_labels_drawn_from_the_probabilities_is_small(self) -> None:
        rng = np.random.default_rng(1)
        p = rng.dirichlet([1, 1, 1], 20000)
        labels = (p.cumsum(axis=1) > rng.random((20000, 1))).argmax(axis=1)
        assert calibration_error(p, labels) < 0.02


class TestLikeness:
    def test_of_classes_is_agreement_by_confidence(self) -> None:
        baseline = np.column_stack([np.linspace(0.1, 5, 20), np.zeros(20)])
        candidate = baseline.copy()
        candidate[:2, 1] = 9  # the least sure ones turn
        found = likeness(ClassLogits("y", (0, 1)), baseline, candidate)
        assert (found.by, found.measure) == ("confidence", "agreement")
        assert [group.likeness for group in found.groups] == [0.0] + [1.0] * 9

    def test_of_scores_is_their_difference(self) -> None:
        scores = np.arange(10.0)[:, None]
        found = likeness(ScoreHead("y"), scores, scores + 0.5)
        assert [group.likeness for group in found.groups] == [0.5] * 10

    def test_of_embeddings_shows_the_worst_tenth(self) -> None:
        baseline = np.tile([1.0, 0.0], (10, 1))
        candidate = baseline.copy()
        candidate[7] = [0.0, 1.0]
        found = likeness(SentenceEmbedding("y"), baseline, candidate)
        assert [group.likeness for group in found.groups] == [0.0] + [1.0] * 9


def robustness(tmp_path: Path, baseline: Path, candidate: Path, **options: Any) -> dict[str, Any]:
    config = ValidateConfig(latency_rounds=1, robustness=True, **options)
    report = validate(baseline, candidate, config).to_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    found: dict[str, Any] = report["robustness"]
    return found


class TestValidate:
    @pytest.fixture
    def models(self, tmp_path: Path) -> tuple[Path, Path]:
        return write_classifier(tmp_path / "baseline", SENTIMENT), write_classifier(tmp_path / "candidate", BLUNT)

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        (tmp_path / "glue" / "SST-2").mkdir(parents=True)
        rows = [
            f"{text}\t{label}" for text, label in [("good good film bad", 1), ("bad film", 0), ("good film", 1)] * 4
        ]
        path = tmp_path / "glue" / "SST-2" / "dev.tsv"
        path.write_text("\n".join(["sentence\tlabel", *rows]) + "\n", encoding="utf-8")
        return path.parents[1]

    def test_a_classifier_has_all_parts(self, tmp_path: Path, models: tuple[Path, Path], data: Path) -> None:
        found = robustness(tmp_path, *models, task="sst2", data=data)
        assert found["absent"] == {}
        assert len(found["likeness"]["groups"]) == 10
        assert 0 < found["calibration_error"]["baseline"] < 1
        tried = [(score["perturbation"], score["level"]) for score in found["perturbed"]]
        assert tried == [("none", 0.0), *((name, level) for name in PERTURBATIONS for level in LEVELS)]
        clean = found["perturbed"][0]
        assert (clean["baseline"], clean["candidate"]) == (1.0, pytest.approx(2 / 3))
        assert clean["drop_points"] == pytest.approx(100 / 3)
        words_swapped = [score for score in found["perturbed"] if score["perturbation"] == "swap_words"]
        assert all(score["baseline"] == 1.0 for score in words_swapped)  # a bag of words does not see their order
        dropped = [score["baseline"] for score in found["perturbed"] if score["perturbation"] == "drop_words"]
        assert min(dropped) < 1

    def test_without_a_task_there_is_no_metric_and_the_report_says_so(
        self, tmp_path: Path, models: tuple[Path, Path]
    ) -> None:
        found = robustness(tmp_path, *models)
        assert (found["calibration_error"], found["perturbed"]) == (None, [])
        assert set(found["absent"]) == {"calibration_error", "perturbed"}

    def test_embeddings_have_no_confidence_but_a_metric(self, tmp_path: Path) -> None:
        vectors: Vectors = {"north": (0.0, 1.0), "east": (1.0, 0.0), "up": (3.0, 3.0)}
        models = [write_encoder(tmp_path / name, vectors) for name in ("baseline", "candidate")]
        (tmp_path / "STS-B").mkdir()
        rows = ["sentence1\tsentence2\tscore", "north\teast\t0", "north\tup\t3", "up\tup\t5", "east\tup\t3"]
        (tmp_path / "STS-B" / "dev.tsv").write_text("\n".join(rows).replace("score", "label") + "\n", encoding="utf-8")
        found = robustness(tmp_path, *models, task="stsb", data=tmp_path)
        assert found["absent"] == {
            "calibration_error": "a model that answers with token embeddings states no probability"
        }
        assert found["likeness"]["measure"] == "cosine_similarity"
        assert found["perturbed"][0]["baseline"] == found["perturbed"][0]["candidate"] > 0.9
