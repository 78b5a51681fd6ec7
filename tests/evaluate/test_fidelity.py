import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from squeeze_onnx.data.similarity import cosine
from squeeze_onnx.evaluate.fidelity import class_fidelity, embedding_fidelity, pair_fidelity, score_fidelity

LOGITS = npst.arrays(np.float64, (2, 12, 3), elements=st.floats(-20, 20))


@given(LOGITS)
def test_divergence_is_scipys_and_never_negative(logits: np.ndarray) -> None:
    baseline, candidate = logits
    expected = [
        scipy.stats.entropy(scipy.special.softmax(b), scipy.special.softmax(c))
        for b, c in zip(baseline, candidate, strict=True)
    ]
    divergence = class_fidelity(baseline, candidate).mean_kl
    assert divergence is not None
    assert divergence == pytest.approx(np.mean(expected), abs=1e-9)
    assert divergence > -1e-12


def test_equal_logits_are_alike_in_every_respect() -> None:
    logits = np.array([[1.0, 2.0], [3.0, -1.0]])
    found = class_fidelity(logits, logits)
    assert found.cosine_similarity == pytest.approx(1.0)
    assert (found.max_abs_diff, found.agreement, found.mean_kl) == (0.0, 1.0, 0.0)


def test_agreement_counts_equal_classes() -> None:
    baseline = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    candidate = np.array([[0.0, 5.0], [1.0, 0.0], [3.0, 0.0], [0.1, 0.0]])
    assert class_fidelity(baseline, candidate).agreement == 0.75
    assert class_fidelity(baseline, candidate).max_abs_diff == 4.0


def test_a_shift_of_all_logits_changes_no_probability() -> None:
    logits = np.array([[1.0, 2.0, 4.0]])
    assert class_fidelity(logits, logits + 100).mean_kl == pytest.approx(0.0, abs=1e-12)


def test_scores_are_one_vector() -> None:
    found = score_fidelity(np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]]))
    assert found.cosine_similarity == pytest.approx(np.sqrt(0.5))
    assert (found.agreement, found.mean_kl, found.max_abs_diff) == (None, None, 1.0)


def test_embeddings_are_compared_sentence_by_sentence() -> None:
    found = embedding_fidelity(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [1.0, 0.0]]))
    assert found.cosine_similarity == 0.5
    assert (found.agreement, found.mean_kl, found.max_abs_diff) == (None, None, 2.0)


def test_a_zero_vector_has_no_direction() -> None:
    np.testing.assert_array_equal(
        cosine(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])), [0, 1]
    )


def test_embeddings_with_axes_of_their_own_are_compared_by_pairs() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 6))
    turned = rows @ np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    found = pair_fidelity(rows, 3 * np.pad(turned, ((0, 0), (0, 2))))
    assert (found.cosine_similarity, found.agreement) == (None, None)
    assert found.pair_difference == pytest.approx(0, abs=1e-12)
    assert found.pair_correlation == pytest.approx(1)
    assert found.told() == {"cosines of pairs": "± 0.0000", "rank correlation": "1.0000"}
    other = pair_fidelity(rows, rows[:, :2])
    assert other.pair_difference is not None and other.pair_correlation is not None
    assert 0.05 < other.pair_difference < other.max_abs_diff
    assert other.pair_correlation < 0.9


@pytest.mark.parametrize("texts", [1, 2])
def test_few_texts_have_few_pairs(texts: int) -> None:
    found = pair_fidelity(np.eye(3)[:texts], np.eye(2)[:texts])
    assert (found.pair_difference, found.pair_correlation) == (0.0, 1.0)
