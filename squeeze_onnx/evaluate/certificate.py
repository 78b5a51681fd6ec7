"""The certificate: how far the answers of a squeezed model moved, beside what its head alone can be held to.

The logits of text i are z = h W + b in the dense model and ẑ = ĥ Ŵ + b̂ in the squeezed one, so that

    z − ẑ = (h − ĥ) Ŵ + h (W − Ŵ) + (b − b̂)
    ‖z − ẑ‖₂ ≤ ‖h − ĥ‖₂ ‖Ŵ‖₂ + ‖h‖₂ ‖W − Ŵ‖₂ + ‖b − b̂‖₂.

Softmax is ½-Lipschitz in the Euclidean norm (Nair 2025, arXiv 2510.23012), so class probabilities move by at most half of that.
With h = ĥ and b = b̂ this is the softmax perturbation of Pourkamali-Anaraki (2026, arXiv 2604.02659): the spectral error of the
weight controls the class probabilities. The first term carries it on to what happened before the head, by measuring h − ĥ.

Arrays are float64, one row a text, or a token where the model answers for each.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
from scipy.special import expit, softmax

from squeeze_onnx.data.similarity import cosine


class Measure(Protocol):
    """How the distance of two answers to the same text is measured."""

    @property
    def name(self) -> str:
        """Name the distance, for people."""
        ...

    def deviation(self, dense: np.ndarray, squeezed: np.ndarray) -> np.ndarray:
        """Return the distance (texts,) of answers (texts, features)."""
        ...


class BoundedMeasure(Measure, Protocol):
    """A measure that is Lipschitz in the logits."""

    def lipschitz(self, classes: int) -> float:
        """Return L with deviation(z, ẑ) ≤ L ‖visible(z − ẑ)‖₂."""
        ...

    def visible(self, logits: np.ndarray) -> np.ndarray:
        """Return what of ``logits`` (..., classes) has a say in the answer, by a linear map of norm 1."""
        ...


@dataclass(frozen=True)
class ClassProbabilities:
    """The largest change of any class's probability, max_k |softmax(z)_k − softmax(ẑ)_k|."""

    name: str = "class probability change"

    def deviation(self, dense: np.ndarray, squeezed: np.ndarray) -> np.ndarray:
        """Compare logits (texts, classes)."""
        return np.asarray(np.max(np.abs(softmax(dense, axis=1) - softmax(squeezed, axis=1)), axis=1))

    def lipschitz(self, classes: int) -> float:
        """½ √((C − 1)/C): changes that sum to 0 have max_k |Δp_k| ≤ √((C − 1)/C) ‖Δp‖₂. Exact for two classes."""
        return 0.5 * float(np.sqrt((classes - 1) / classes))

    def visible(self, logits: np.ndarray) -> np.ndarray:
        """Take the mean over the classes away: softmax does not see what all logits share."""
        return np.asarray(logits - logits.mean(axis=-1, keepdims=True))


@dataclass(frozen=True)
class LabelProbabilities:
    """The largest change of any label's probability, max_k |σ(z_k) − σ(ẑ_k)|."""

    name: str = "label probability change"

    def deviation(self, dense: np.ndarray, squeezed: np.ndarray) -> np.ndarray:
        """Compare logits (texts, labels)."""
        return np.asarray(np.max(np.abs(expit(dense) - expit(squeezed)), axis=1))

    def lipschitz(self, classes: int) -> float:
        """¼, the steepest slope of the sigmoid: each label sees its own logit only."""
        return 0.25

    def visible(self, logits: np.ndarray) -> np.ndarray:
        """All of it."""
        return logits


@dataclass(frozen=True)
class Score:
    """The change |z − ẑ| of a regression's one number."""

    name: str = "score change"

    def deviation(self, dense: np.ndarray, squeezed: np.ndarray) -> np.ndarray:
        """Compare scores (texts, 1)."""
        return np.asarray(np.abs(dense[:, 0] - squeezed[:, 0]))

    def lipschitz(self, classes: int) -> float:
        """1: the score is the answer."""
        return 1.0

    def visible(self, logits: np.ndarray) -> np.ndarray:
        """All of it."""
        return logits


@dataclass(frozen=True)
class CosineDistance:
    """1 − cos of two embeddings; 1 where one of them is zero."""

    name: str = "cosine distance"

    def deviation(self, dense: np.ndarray, squeezed: np.ndarray) -> np.ndarray:
        """Compare embeddings (texts, features)."""
        return np.asarray(np.maximum(1 - cosine(dense, squeezed), 0.0))


@dataclass(frozen=True)
class Spread:
    """The largest of many values, and their mean."""

    worst: float
    mean: float

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Sum up ``values``, one a text."""
        return cls(float(values.max()), float(values.mean()))


@dataclass(frozen=True, eq=False)
class HeadRecord:
    """What the linear head of one model read and said.

    features (texts, in), weight (in, classes), bias (classes,), logits (texts, classes).
    """

    features: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    logits: np.ndarray

    @property
    def rounding(self) -> np.ndarray:
        """What the model's own arithmetic adds to h W + b, (texts, classes)."""
        return np.asarray(self.logits - (self.features @ self.weight + self.bias))


@dataclass(frozen=True)
class HeadBound:
    """The bound on the deviation, its parts, and what they are made of.

    ``total`` = ``from_features`` L ‖h − ĥ‖ ‖Ŵ‖₂ + ``from_head`` L (‖h‖ ‖W − Ŵ‖₂ + ‖b − b̂‖) + ``from_rounding``. The last is
    what the arithmetic of both models adds to their logits, so that ``total`` holds for the numbers as they were computed. Of
    weights, biases and rounding it is the visible part that counts.
    """

    total: Spread
    from_features: Spread
    from_head: Spread
    from_rounding: Spread
    lipschitz: float
    weight_norm: float
    spectral_error: float
    bias_error: float
    feature_norm: Spread
    feature_deviation: Spread


def bound_deviation(dense: HeadRecord, squeezed: HeadRecord, measure: BoundedMeasure) -> HeadBound:
    """Bound ``measure`` between two heads that read as many features and have the same classes."""
    lipschitz = measure.lipschitz(len(dense.bias))
    weight_norm = float(np.linalg.norm(measure.visible(squeezed.weight), 2))
    spectral_error = float(np.linalg.norm(measure.visible(dense.weight - squeezed.weight), 2))
    bias_error = float(np.linalg.norm(measure.visible(dense.bias - squeezed.bias)))
    feature_norm = np.linalg.norm(dense.features, axis=1)
    feature_deviation = np.linalg.norm(dense.features - squeezed.features, axis=1)
    rounding = sum(np.linalg.norm(measure.visible(head.rounding), axis=1) for head in (dense, squeezed))
    from_features = lipschitz * feature_deviation * weight_norm
    from_head = lipschitz * (feature_norm * spectral_error + bias_error)
    from_rounding = lipschitz * np.asarray(rounding)
    return HeadBound(
        total=Spread.of(from_features + from_head + from_rounding),
        from_features=Spread.of(from_features),
        from_head=Spread.of(from_head),
        from_rounding=Spread.of(from_rounding),
        lipschitz=lipschitz,
        weight_norm=weight_norm,
        spectral_error=spectral_error,
        bias_error=bias_error,
        feature_norm=Spread.of(feature_norm),
        feature_deviation=Spread.of(feature_deviation),
    )


@dataclass(frozen=True)
class Certificate:
    """The measured deviation of a squeezed model on ``texts`` texts and, if it has a linear head, the bound on it.

    Of a model that answers for every token it is that of the ``tokens`` in them. ``measure`` names it,
    ``notes`` in sentences what the numbers do not say; without an answer that can be measured there are
    only those. ``held_back`` says whether nothing that made the squeezed model read these texts.
    """

    texts: int
    notes: tuple[str, ...]
    measure: str | None = None
    measured: Spread | None = None
    bound: HeadBound | None = None
    held_back: bool = False
    tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "notes": list(self.notes)}


def notes_on(bound: HeadBound, measure: BoundedMeasure) -> tuple[str, ...]:
    """Say in sentences where ``bound`` is loose."""
    notes = [
        "The bound takes every text's features to point where the head's weight, and its error, are largest; they rarely do.",
        "It holds for these texts: what happens before the head is measured on them, not bounded. Other texts are covered as far "
        "as their features are no longer and move no more than the worst seen here.",
    ]
    if isinstance(measure, ClassProbabilities):
        notes.append(
            "Softmax moves by the full Lipschitz constant only where two classes share the probability evenly; a confident "
            "answer moves far less than the bound says."
        )
        if bound.total.worst >= 1:
            notes.append("A probability cannot change by more than 1, so for the worst text the bound says nothing.")
    if bound.from_head.worst == 0:
        notes.append("The head is as it was: the bound comes from the features that reach it alone.")
    return tuple(notes)
