"""Baselines that a gate is worth nothing with."""

import numpy as np
import pytest

from squeeze_onnx.data.glue import TASKS
from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.evaluate.sanity import read_in_order, sanity_of

MNLI, STSB, COLA = TASKS["mnli"], TASKS["stsb"], TASKS["cola"]
TRUTH = np.random.default_rng(0).integers(0, 3, 300)
TURNED = (TRUTH + 1) % 3


def right_in(share: float, predictions: np.ndarray = TRUTH) -> np.ndarray:
    """Return predictions of which the first ``share`` is right, and the rest as wrong as can be."""
    rows = np.arange(len(TRUTH)) < share * len(TRUTH)
    return np.where(rows, predictions, (predictions + 1) % 3)


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_a_model_that_knows_the_task_is_not_doubted(share: float) -> None:
    predictions = np.where(np.arange(300) < 300 * share, TRUTH, np.random.default_rng(1).integers(0, 3, 300))
    assert sanity_of(MNLI, TRUTH, predictions).doubt(MNLI.labels) is None


def test_classes_in_another_order_are_named_with_both_scores() -> None:
    sanity = sanity_of(MNLI, TRUTH, TURNED)
    doubt = sanity.doubt(MNLI.labels)
    assert doubt is not None
    assert doubt.startswith("its labels look permuted: the accuracy is 0.0 %, and 100.0 % if its classes are 0 = ")
    assert "0 = contradiction, 1 = entailment, 2 = neutral" in doubt
    assert "id2label" in doubt


def test_the_order_is_told_by_the_numbers_of_the_model() -> None:
    sanity = sanity_of(MNLI, TRUTH, TURNED, order=(2, 0, 1))
    assert sanity.classes is not None
    # Class 0 of the data was read as number 2 of the model, and found under that of class 1, which is its number 0.
    assert sanity.classes.order == (0, 1, 2)
    np.testing.assert_array_equal(read_in_order(TURNED, (2, 0, 1), sanity.classes.order), TRUTH)


def test_less_than_twenty_points_are_no_permutation() -> None:
    truth = np.repeat([0, 1], 50)
    predictions = np.concatenate([np.arange(50) < 28, np.arange(50) < 23]).astype(int)  # 45 % right, 55 % the other way
    sanity = sanity_of(COLA, truth, predictions)
    assert sanity.classes is not None and not sanity.classes.looks_permuted


@pytest.mark.parametrize(
    ("task", "references", "predictions", "words"),
    [
        (MNLI, TRUTH, np.random.default_rng(5).permutation(TRUTH), "no better than chance: accuracy is 0.3"),
        (MNLI, TRUTH, np.zeros(300, int), "says the same of every text"),
        (STSB, np.arange(40.0), np.ones(40), "says the same of every text"),
        (
            STSB,
            np.arange(40.0),
            -np.arange(40.0),
            "its scores fall where those of the data rise: spearman is -1.0000; turn the labels round",
        ),
    ],
    ids=["guesses", "one class", "one score", "turned scores"],
)
def test_a_model_that_does_not_know_the_task(
    task: Task, references: np.ndarray, predictions: np.ndarray, words: str
) -> None:
    doubt = sanity_of(task, references, predictions).doubt(task.labels)
    assert doubt is not None and words in doubt


def test_a_metric_of_which_chance_is_unknown_is_never_at_it() -> None:
    task = Task("text", ("text",), (), ("perplexity",), "perplexity", kind=Kind.WORDS)
    assert sanity_of(task, np.zeros(3), np.array([[9.0, 3], [8, 2], [1, 1]])).doubt(()) is None
