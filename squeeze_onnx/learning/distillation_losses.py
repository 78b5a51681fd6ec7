"""What a student is to imitate: the answer that its head gives, and the residual stream on the way there."""

import onnx_ir as ir

from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    Logits,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
    TokenVectors,
)
from squeeze_onnx.graph.match.dataflow import downstream, joins
from squeeze_onnx.graph.match.operators import SOFTMAXES, mixes, op_of
from squeeze_onnx.learning.losses import (
    EmbeddingCosine,
    EmbeddingError,
    HiddenStateError,
    LabelDivergence,
    LogitDivergence,
    LossHead,
    TokenCosine,
)
from squeeze_onnx.support.errors import ModelError

DISTILLATION_HIDDEN_WEIGHT = 10.0
"""What hidden states count beside the answer, chosen on held-out train text: they say more of a sentence than the answer does."""


def learning_rate(head: Head) -> float:
    """Return the rate at which answers of a kind are best imitated, chosen on held-out train text.

    The divergence of classes is steep: a step that helps an embedding throws it far off.
    """
    return 5e-4 if isinstance(head, Logits) else 3e-3


def answer_loss(head: Head) -> LossHead:
    """Return the loss of the output that ``head`` reads. Raises ModelError for a kind of head that has none."""
    match head:
        case ClassLogits() | TokenLogits():
            return LogitDivergence(head.output, axes=3 if isinstance(head, TokenLogits) else 2)
        case LabelLogits():
            return LabelDivergence(head.output)
        case ScoreHead():
            return EmbeddingError(head.output, axes=2)
        case TokenEmbeddings():
            return EmbeddingCosine(head.output, axes=3, embedding=head.embedding)
        case TokenVectors():
            return TokenCosine(head.output, modules=head.modules)
        case SentenceEmbedding():
            return EmbeddingCosine(head.output, axes=2, embedding=head.embedding)
        case _:
            raise ModelError(f"output {head.output!r} is of the kind {head.kind}, which nothing can be taught about")


def hidden_states(teacher: ir.Model) -> tuple[str, ...]:
    """Return the names of the residual stream of ``teacher`` after each addition to it, in graph order.

    Where attention scores are sums, as those of content and position are in DeBERTa, they join two branches, too, but no stream.
    """
    found = joins(teacher.graph, mixes)
    states = [node.outputs[0] for node in teacher.graph if node in found and not _are_scores(node.outputs[0])]
    return tuple(str(state.name) for state in states)


def _are_scores(value: ir.Value) -> bool:
    """Whether ``value`` goes into a softmax before anything mixes its features."""
    return any(op_of(node) in SOFTMAXES for node in downstream(value, mixes))


def distillation_losses(
    teacher: ir.Model, head: Head, *, hidden_weight: float = DISTILLATION_HIDDEN_WEIGHT
) -> tuple[LossHead, ...]:
    """Return the loss of the answer, then those of the hidden states, which share ``hidden_weight`` evenly."""
    states = hidden_states(teacher)
    return (answer_loss(head), *(HiddenStateError(name, hidden_weight / len(states)) for name in states))
