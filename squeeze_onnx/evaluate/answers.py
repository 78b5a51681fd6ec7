"""What a model answers to the calibration data, and what its head read, taken down while the model runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch, run_over
from squeeze_onnx.evaluate.answer_heads import ClassLogits, Head, LabelLogits, ScoreHead
from squeeze_onnx.evaluate.certificate import HeadRecord
from squeeze_onnx.graph.match.linear_head import find_linear_head
from squeeze_onnx.spectral.moment_sums import Counted
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent


@dataclass(frozen=True, eq=False)
class Answers:
    """What one model answers to ``texts`` texts in float64, and what its linear head read and said, if it has one.

    values: (texts, features), or (tokens, features) of a model that answers for every token.
    """

    values: np.ndarray
    head: HeadRecord | None
    texts: int


class AnswerListener:
    """Takes down what ``head`` answers while ``model`` runs (see `run_over`); of logits also what they were made of."""

    def __init__(self, model: ir.Model, head: Head) -> None:
        self._head = head
        has_logits = isinstance(head, ClassLogits | LabelLogits | ScoreHead)
        self._linear = find_linear_head(model, head.output) if has_logits else None
        self._texts = 0
        self._values: list[np.ndarray] = []
        self._features: list[np.ndarray] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The answer and, of a linear head, what it reads."""
        return (self._head.output,) if self._linear is None else (self._head.output, self._linear.features)

    def hear(self, values: Sequence[np.ndarray], counted: Counted) -> None:
        """Take down one batch."""
        output, *features = values
        self._texts += len(output)
        self._values.append(self._head.answers(output, _mask_of(output, counted)))
        self._features += [each.astype(np.float64) for each in features]

    def answers(self) -> Answers:
        """Return all that was heard; raises ModelError if an answer is NaN or infinite."""
        values = np.concatenate(self._values)
        if self._linear is None:
            return Answers(self._finite(values), None, self._texts)
        features = self._finite(np.concatenate(self._features))
        record = HeadRecord(features, self._linear.read_weight(), self._linear.read_bias(), self._finite(values))
        return Answers(values, record, self._texts)

    def _finite(self, found: np.ndarray) -> np.ndarray:
        if not np.isfinite(found).all():
            raise ModelError(
                f"output {self._head.output!r} is NaN or infinite on the calibration data, before or after squeezing: check "
                "that the model answers every text, or keep more of it"
            )
        return found


def read_answers(
    model: ir.Model, head: Head, batches: Sequence[CalibrationBatch], *, provider: str = "cpu", track: Track = silent
) -> Answers:
    """Run ``model`` over ``batches`` and return what ``head`` answers; raises ModelError if that is NaN or infinite."""
    listener = AnswerListener(model, head)
    run_over(model, batches, [listener], provider=provider, track=track, label="Certificate")
    return listener.answers()


def _mask_of(output: np.ndarray, counted: Counted) -> np.ndarray:
    """Return which positions of ``output`` count, and ones for everything else that it runs over."""
    mask = counted(output.shape[:2]) if output.ndim > 2 else None
    return np.ones(output.shape[:2]) if mask is None else mask
