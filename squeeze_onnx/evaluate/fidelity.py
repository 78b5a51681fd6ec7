"""How like the baseline a candidate answers, without labels."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from squeeze_onnx.data.similarity import cosine


@dataclass(frozen=True)
class Fidelity:
    """Likeness of two models' answers to the same texts.

    ``cosine_similarity`` is the mean over the texts, ``max_abs_diff`` the largest difference of any number.
    ``agreement`` (fraction of equal predictions) and ``mean_kl`` (Kullback–Leibler divergence of the candidate's
    classes from the baseline's, in nats, mean over the texts) exist for classes and labels only.
    """

    cosine_similarity: float
    max_abs_diff: float
    agreement: float | None = None
    mean_kl: float | None = None


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
