"""How like the baseline a candidate answers, without labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from squeeze_onnx.data.similarity import Similarity, cosine
from squeeze_onnx.evaluate.metrics.scores import spearman

MOST_PAIRED = 1000
"""Texts of which all pairs are compared; of more, as many that lie evenly among them."""


@dataclass(frozen=True)
class Fidelity:
    """Likeness of two models' answers to the same texts.

    ``cosine_similarity`` is the mean over the texts, ``max_abs_diff`` the largest difference of any number. Embeddings that have
    axes of their own have no cosine to those of the baseline, and the cosines of pairs of texts are compared: ``pair_difference``
    is the mean absolute difference of these, ``max_abs_diff`` the largest, ``pair_correlation`` that of their ranks (Spearman).
    ``agreement`` (fraction of equal predictions) and ``mean_kl`` (Kullback–Leibler divergence of the candidate's
    classes from the baseline's, in nats, mean over the texts) exist for classes and labels only.
    """

    cosine_similarity: float | None
    max_abs_diff: float
    agreement: float | None = None
    mean_kl: float | None = None
    pair_difference: float | None = None
    pair_correlation: float | None = None

    def told(self) -> dict[str, str]:
        """Return what says most of it, as people read it."""
        if self.cosine_similarity is not None:
            return {"cosine": f"{self.cosine_similarity:.4f}"}
        return {"cosines of pairs": f"± {self.pair_difference:.4f}", "rank correlation": f"{self.pair_correlation:.4f}"}


def class_fidelity(baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
    """Compare class logits of shape (rows, classes)."""
    expected, found = log_softmax(baseline, axis=1), log_softmax(candidate, axis=1)
    divergence = np.sum(np.exp(expected) * (expected - found), axis=1)
    return Fidelity(
        cosine_similarity=float(np.mean(cosine(baseline, candidate))),
        max_abs_diff=float(np.max(np.abs(baseline - candidate))),
        agreement=float(np.mean(np.argmax(baseline, axis=1) == np.argmax(candidate, axis=1))),
        mean_kl=float(np.mean(divergence)),
    )


def label_fidelity(baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
    """Compare logits (rows, labels) of labels that say yes or no each: predictions agree where all labels of a text do.

    The divergence of a text is the sum over its labels.
    """
    yes = expit(baseline) * (log_expit(baseline) - log_expit(candidate))
    no = expit(-baseline) * (log_expit(-baseline) - log_expit(-candidate))
    return Fidelity(
        cosine_similarity=float(np.mean(cosine(baseline, candidate))),
        max_abs_diff=float(np.max(np.abs(baseline - candidate))),
        agreement=float(np.mean(np.all((baseline > 0) == (candidate > 0), axis=1))),
        mean_kl=float(np.mean(np.sum(yes + no, axis=1))),
    )


def score_fidelity(baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
    """Compare scores of shape (rows, 1): the cosine is that of the two vectors of all scores."""
    return Fidelity(
        cosine_similarity=float(cosine(baseline[:, 0], candidate[:, 0])),
        max_abs_diff=float(np.max(np.abs(baseline - candidate))),
    )


def embedding_fidelity(baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
    """Compare sentence embeddings of shape (sentences, features)."""
    return Fidelity(
        cosine_similarity=float(np.mean(cosine(baseline, candidate))),
        max_abs_diff=float(np.max(np.abs(baseline - candidate))),
    )


def pair_fidelity(baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
    """Compare the cosines of all pairs of sentences by embeddings (sentences, features), which may have different features."""
    chosen = _spread(len(baseline))
    pairs = np.triu_indices(len(chosen), 1)
    expected, found = (Similarity.COSINE.of_all(rows[chosen], rows[chosen])[pairs] for rows in (baseline, candidate))
    if not len(expected):
        return Fidelity(None, 0.0, pair_difference=0.0, pair_correlation=1.0)
    differences = np.abs(expected - found)
    return Fidelity(
        cosine_similarity=None,
        max_abs_diff=float(differences.max()),
        pair_difference=float(differences.mean()),
        pair_correlation=_rank_correlation(expected, found),
    )


def profiles(answers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return for each model the cosines of every text to `MOST_PAIRED` of them: rows that can be held against each other."""
    chosen = _spread(len(answers[0]))
    return [Similarity.COSINE.of_all(rows, rows[chosen]) for rows in answers]


def _spread(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, MOST_PAIRED)).round().astype(np.int64)


def _rank_correlation(expected: np.ndarray, found: np.ndarray) -> float:
    """Return Spearman's correlation; 1 where both are constant, 0 where one is and the other is not."""
    return 1.0 if np.ptp(expected) == np.ptp(found) == 0 else float(spearman(expected, found))
