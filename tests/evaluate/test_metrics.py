import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from squeeze_onnx.evaluate.metrics import Values
from squeeze_onnx.evaluate.metrics.classes import accuracy, f1, f1_macro, f1_micro, matthews
from squeeze_onnx.evaluate.metrics.counted import labels_equal, labels_f1, labels_f1_macro
from squeeze_onnx.evaluate.metrics.scores import pearson, spearman

CLASSES = npst.arrays(np.int64, (2, 23), elements=st.integers(0, 1))
# Few distinct values make ties, which is where rank correlations differ.
SCORES = npst.arrays(np.float64, (2, 17), elements=st.integers(0, 10).map(lambda tenth: tenth / 2))


@given(CLASSES)
def test_class_metrics_agree_with_scikit_learn(classes: np.ndarray) -> None:
    truth, predicted = classes
    assert accuracy(truth, predicted) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert f1(truth, predicted) == pytest.approx(sklearn.metrics.f1_score(truth, predicted, zero_division=0))
    if np.ptp(truth) and np.ptp(predicted):
        assert matthews(truth, predicted) == pytest.approx(sklearn.metrics.matthews_corrcoef(truth, predicted))


@settings(max_examples=30)
@given(npst.arrays(np.int64, (2, 31), elements=st.integers(0, 2)))
def test_metrics_of_several_classes_agree_with_scikit_learn(classes: np.ndarray) -> None:
    truth, predicted = classes
    assert accuracy(truth, predicted) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    for metric, average in ((f1_macro, "macro"), (f1_micro, "micro")):
        found = sklearn.metrics.f1_score(truth, predicted, average=average, zero_division=0)
        assert metric(truth, predicted) == pytest.approx(found)
    if np.ptp(truth) and np.ptp(predicted):
        assert matthews(truth, predicted) == pytest.approx(sklearn.metrics.matthews_corrcoef(truth, predicted))


@settings(max_examples=30)
@given(npst.arrays(np.bool_, (2, 19, 4)))
def test_metrics_of_labels_agree_with_scikit_learn(labels: np.ndarray) -> None:
    truth, predicted = labels
    counts = np.stack([truth & predicted, predicted, truth], axis=2).reshape(len(truth), -1).astype(np.float64)
    assert labels_equal(truth, counts) == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    for metric, average in ((labels_f1, "micro"), (labels_f1_macro, "macro")):
        found = sklearn.metrics.f1_score(truth, predicted, average=average, zero_division=0)
        assert metric(truth, counts) == pytest.approx(found)
        assert metric(truth, np.stack([counts, counts])) == pytest.approx([found, found])


@given(SCORES)
def test_correlations_agree_with_scipy(scores: np.ndarray) -> None:
    truth, predicted = scores
    if np.ptp(truth) and np.ptp(predicted):
        assert pearson(truth, predicted) == pytest.approx(scipy.stats.pearsonr(truth, predicted).statistic)
        assert spearman(truth, predicted) == pytest.approx(scipy.stats.spearmanr(truth, predicted).statistic)


@pytest.mark.parametrize("metric", [accuracy, f1, f1_macro, f1_micro, matthews, pearson, spearman])
def test_a_stack_of_resamples_scores_like_each_alone(metric: Values) -> None:
    truth, predicted = np.random.default_rng(0).integers(0, 2, size=(2, 6, 40))
    alone = [metric(t, p) for t, p in zip(truth, predicted, strict=True)]
    np.testing.assert_allclose(metric(truth, predicted), alone, rtol=1e-12)


@pytest.mark.parametrize("metric", [matthews, pearson, spearman])
@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_prediction_correlates_with_nothing(metric: Values, constant: int) -> None:
    assert metric(np.array([0, 1, 1, 0, 1]), np.full(5, constant)) == 0


def test_a_constant_whose_mean_rounds_still_correlates_with_nothing() -> None:
    constant = np.full(3, 0.1)
    assert np.mean(constant) != 0.1
    assert pearson(np.array([1.0, 2.0, 3.0]), constant) == 0


def test_f1_of_a_class_that_nobody_names_is_zero() -> None:
    assert f1(np.zeros(4), np.zeros(4)) == 0


def test_matthews_does_not_overflow_on_large_data() -> None:
    truth = np.tile([0, 1], 200_000)
    assert matthews(truth, truth) == pytest.approx(1.0)
