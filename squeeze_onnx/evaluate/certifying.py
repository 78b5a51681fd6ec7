"""Hold the answers of what became of a model against those of the dense one, and bound how far they can have moved."""

from dataclasses import replace

from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    ScoreHead,
    TokenLogits,
    TokenVectors,
    WordLogits,
)
from squeeze_onnx.evaluate.answers import Answers
from squeeze_onnx.evaluate.certificate import (
    BoundedMeasure,
    Certificate,
    ClassProbabilities,
    CosineDistance,
    LabelProbabilities,
    Measure,
    Score,
    Spread,
    bound_deviation,
    notes_on,
)

_NO_LOGITS = (
    "The model answers with embeddings: there are no class probabilities to bound, the distance is measured only."
)
_TOKENS = "The model answers for every token: the classes of each are compared, changes are measured, not bounded."
_VECTORS = "The model answers with a vector for every token: the distance of each is measured, nothing is bounded."
_WORDS = "The model answers with words: the one at the middle token of each text is compared; nothing is bounded."
_NO_LINEAR_HEAD = (
    "The logits are not one weight times the features before it, so there is a measured deviation, but no bound."
)


def certify(dense: Answers, squeezed: Answers, head: Head) -> Certificate:
    """Compare what ``head`` read from both models, and bound their distance where there is a bound."""
    match head:
        case ClassLogits():
            return _certify_logits(dense, squeezed, ClassProbabilities())
        case LabelLogits():
            return _certify_logits(dense, squeezed, LabelProbabilities())
        case ScoreHead():
            return _certify_logits(dense, squeezed, Score())
        case TokenLogits() | TokenVectors():
            return _certify_tokens(dense, squeezed, head)
        case WordLogits():
            return _measure(dense, squeezed, ClassProbabilities(), _WORDS)
        case _:
            return _measure(dense, squeezed, CosineDistance(), _NO_LOGITS)


def _certify_logits(dense: Answers, squeezed: Answers, measure: BoundedMeasure) -> Certificate:
    expected, found = dense.head, squeezed.head
    if expected is None or found is None or expected.features.shape != found.features.shape:
        return _measure(dense, squeezed, measure, _NO_LINEAR_HEAD)
    bound = bound_deviation(expected, found, measure)
    measured = Spread.of(measure.deviation(expected.logits, found.logits))
    return Certificate(dense.texts, notes_on(bound, measure), measure.name, measured, bound)


def _measure(dense: Answers, squeezed: Answers, measure: Measure, note: str) -> Certificate:
    deviation = measure.deviation(dense.values, squeezed.values)
    return Certificate(dense.texts, (note,), measure.name, Spread.of(deviation))


def _certify_tokens(dense: Answers, squeezed: Answers, head: TokenLogits | TokenVectors) -> Certificate:
    classes = isinstance(head, TokenLogits)
    measured = _measure(
        dense,
        squeezed,
        ClassProbabilities() if classes else CosineDistance(),
        _TOKENS if classes else _VECTORS,
    )
    return replace(measured, tokens=len(dense.values))
