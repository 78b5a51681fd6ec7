"""Answers drawn from a model's own distribution, as losses: their negative log-likelihood, summed over the sequences.

What is fed is noise only; the graph turns it into an answer, so that one run is forward and backward in one. The gradient of the
sum by anything that belongs to one sequence is the gradient of that sequence's own term.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.embedding import MEAN_OF_TOKENS, Embedding, EmbeddingModule
from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
    TokenVectors,
)
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.losses import LossHead, row_dot
from squeeze_onnx.learning.pooling import applied, embedded
from squeeze_onnx.support.errors import ModelError


class DrawnLoss(LossHead, Protocol):
    """A loss whose target is noise."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return the noise of an answer of ``shape``, float32."""
        ...


@dataclass(frozen=True)
class DrawnClass:
    """−log p(y) for a class y drawn by p = softmax of the logits: their argmax after Gumbel noise is added (Gumbel 1954).

    Of logits of tokens (3 axes) a class is drawn for each that is text.
    """

    value: str
    weight: float = 1.0
    axes: int = 2
    as_value = True

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return Gumbel noise (sequences, classes) or (sequences, tokens, classes)."""
        return rng.gumbel(size=shape).astype(np.float32)

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead."""
        drawn = emit("Hardmax", emit("Add", student, teacher), axis=-1)
        likelihood = emit("Mul", drawn, emit("LogSoftmax", student, axis=-1))
        if self.axes == 3:
            likelihood = emit("Mul", likelihood, mask)
        return emit("Mul", emit("ReduceSum", likelihood, keepdims=0), emit.constant(-1))


@dataclass(frozen=True)
class DrawnLabels:
    """−Σ_k log p(y_k) for labels y_k drawn by p = σ of each logit: said where that and logistic noise are above 0 together."""

    value: str
    weight: float = 1.0
    axes = 2
    as_value = True

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return logistic noise (sequences, labels)."""
        return rng.logistic(size=shape).astype(np.float32)

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead: −log p(y) = softplus(z) − y z."""
        half = emit.constant(0.5)
        drawn = emit("Add", emit("Mul", emit("Sign", emit("Add", student, teacher)), half), half)
        lost = emit("Sub", emit("Softplus", student), emit("Mul", drawn, student))
        return emit("ReduceSum", lost, keepdims=0)


@dataclass(frozen=True)
class DrawnScore:
    """½(y − f)² for a score y ~ N(f, 1) around the model's f: its gradient is that of −ε f with ε = y − f ~ N(0, 1)."""

    value: str
    weight: float = 1.0
    axes = 1
    as_value = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return Gaussian noise (sequences,)."""
        return rng.standard_normal(shape[0], np.float32)

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead; of the square only what has a gradient."""
        score = emit("ReduceSum", student, emit.axes(-1), keepdims=0)
        return emit("ReduceSum", emit("Mul", score, teacher), keepdims=0)


@dataclass(frozen=True)
class DrawnEmbedding:
    """½‖y − u‖² for y ~ N(u, I) around the direction u = f/‖f‖ of an ``embedding`` f, made of tokens if it has 3 ``value_axes``.

    An embedding has no likelihood of its own. With this one the Fisher information is JᵀJ, J the Jacobian of u, so a change
    counts by ½‖Δu‖², which is the 1 − cosine that embeddings are compared by, as a change of a score counts by ½Δ². The gradient
    is −Jᵀε with ε = y − u ~ N(0, I): one random direction a sequence estimates JᵀJ without bias.
    """

    value: str
    value_axes: int = 3
    weight: float = 1.0
    embedding: Embedding = MEAN_OF_TOKENS
    axes = 2
    as_value = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return Gaussian noise (sequences, features of the embedding)."""
        wide = shape[-1] * len(self.embedding.pooling) if self.value_axes == 3 else shape[-1]
        return rng.standard_normal((shape[0], self.embedding.width_of(wide)), np.float32)

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead; of the square only what has a gradient."""
        embedding = embedded(emit, student, mask, self.embedding, self.value_axes)
        norm = emit("Sqrt", row_dot(emit, embedding, embedding))
        return emit("ReduceSum", emit("Div", row_dot(emit, embedding, teacher), norm), keepdims=0)


@dataclass(frozen=True)
class DrawnVectors:
    """The same of the vector of every token that is text, each a direction of its own, behind the ``modules`` it goes through."""

    value: str
    weight: float = 1.0
    modules: tuple[EmbeddingModule, ...] = ()
    axes = 3

    @property
    def as_value(self) -> bool:
        """See LossHead: modules may change the width."""
        return not self.modules

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return Gaussian noise (sequences, tokens, features of the vector)."""
        widths = [module.out_features for module in self.modules if module.out_features is not None]
        return rng.standard_normal((*shape[:-1], widths[-1] if widths else shape[-1]), np.float32)

    def emit(self, emit: Emitter, student: ir.Value, teacher: ir.Value, mask: ir.Value) -> ir.Value:
        """See LossHead; of the square only what has a gradient."""
        for module in self.modules:
            student = applied(emit, student, module)
        squares = emit("Add", row_dot(emit, student, student), emit.constant(1e-12))
        along = emit("Div", row_dot(emit, student, teacher), emit("Sqrt", squares))
        return emit("ReduceSum", emit("Mul", along, emit("Squeeze", mask, emit.axes(-1))), keepdims=0)


def drawn_loss(head: Head) -> DrawnLoss:
    """Return the loss of an answer drawn from what ``head`` reads. Raises ModelError for a kind of head that has none."""
    match head:
        case ClassLogits() | TokenLogits():
            return DrawnClass(head.output, axes=3 if isinstance(head, TokenLogits) else 2)
        case LabelLogits():
            return DrawnLabels(head.output)
        case ScoreHead():
            return DrawnScore(head.output)
        case TokenEmbeddings():
            return DrawnEmbedding(head.output, value_axes=3, embedding=head.embedding)
        case TokenVectors():
            return DrawnVectors(head.output, modules=head.modules)
        case SentenceEmbedding():
            return DrawnEmbedding(head.output, value_axes=2, embedding=head.embedding)
        case _:
            raise ModelError(f"output {head.output!r} is of the kind {head.kind}, from which no answer can be drawn")
