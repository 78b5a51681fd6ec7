"""An evaluator: the baseline is asked once, every candidate is graded against its answers."""

from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.data.glue import TASKS
from squeeze_onnx.data.model_config import read_model_config
from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import VALIDATION
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.evaluator import Evaluator, Predictor
from squeeze_onnx.support.errors import ModelError
from tests.text_models import Vectors, write_classifier, write_encoder
from tests.tracks import RecordingTrack

SENTIMENT: Vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "film": (0.0, 0.0), "meh": (0.25, 0.0)}
BLUNT: Vectors = {**SENTIMENT, "meh": (0.0, 0.25)}
COMPASS: Vectors = {"north": (0.0, 1.0), "east": (1.0, 0.0), "both": (1.0, 1.0)}

SENTENCES = (("good film",), ("bad film",), ("meh",), ("good good film",), ("meh film",))
ROWS = LabelledRows(VALIDATION, SENTENCES, np.array([1, 0, 0, 1, 0]))
PAIRS = LabelledRows(
    VALIDATION,
    (("north", "north"), ("north", "both"), ("north", "east")),
    np.array([5.0, 3.0, 0.0]),
)


def predictor(folder: Path, task: str) -> Predictor:
    settings = read_model_config(folder)
    return Predictor(TASKS[task], settings, load_text_encoder(folder, settings), batch_size=2)


@pytest.fixture
def evaluator(tmp_path: Path) -> Evaluator:
    baseline = write_classifier(tmp_path / "baseline", SENTIMENT)
    return Evaluator.of(predictor(baseline, "sst2"), ROWS, baseline / "model.onnx")


def test_a_candidate_is_graded_by_the_primary_metric(evaluator: Evaluator, tmp_path: Path) -> None:
    assert evaluator.baseline_metric == 1.0
    grade = evaluator.grade(write_classifier(tmp_path / "blunt", BLUNT) / "model.onnx")
    assert (grade.metric, grade.drop_points) == (0.6, 40.0)
    assert 0 <= grade.drop_interval.low < 40 < grade.drop_interval.high <= 100


def test_the_baseline_loses_nothing_against_itself(evaluator: Evaluator, tmp_path: Path) -> None:
    grade = evaluator.grade(tmp_path / "baseline" / "model.onnx")
    assert (grade.drop_points, grade.drop_interval.low, grade.drop_interval.high) == (0, 0, 0)


def test_only_the_candidate_is_run_to_grade_it(evaluator: Evaluator, tmp_path: Path) -> None:
    (tmp_path / "baseline" / "model.onnx").rename(tmp_path / "model.onnx")
    track = RecordingTrack()
    evaluator.grade(tmp_path / "model.onnx", track)
    assert track.taken == {"Running the candidate on cpu": 3}


def test_a_model_without_head_is_graded_by_the_cosine(tmp_path: Path) -> None:
    baseline = write_encoder(tmp_path / "baseline", COMPASS)
    evaluator = Evaluator.of(predictor(baseline, "stsb"), PAIRS, baseline / "model.onnx")
    # Of "north" and "both" the cosine is √½; "east" turned around makes the order of the pairs another one.
    np.testing.assert_allclose(evaluator.baseline, [1, np.sqrt(0.5), 0], atol=1e-6)
    candidate = write_encoder(tmp_path / "candidate", {**COMPASS, "east": (0.1, 1.0)})
    grade = evaluator.grade(candidate / "model.onnx")
    assert evaluator.baseline_metric == pytest.approx(1)
    assert grade.metric == pytest.approx(0.5)
    assert grade.drop_points == pytest.approx(50)


def test_answers_that_are_no_numbers_are_refused(evaluator: Evaluator, tmp_path: Path) -> None:
    broken = write_classifier(tmp_path / "broken", {**SENTIMENT, "meh": (np.nan, 0.0)})
    with pytest.raises(ModelError, match=r"the candidate returns NaN or infinity in 'logits' on cpu"):
        evaluator.grade(broken / "model.onnx")
