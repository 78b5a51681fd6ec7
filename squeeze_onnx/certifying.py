"""Run a dense model and what became of it over the calibration data once, and certify how far the answers moved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.calibration import CalibrationBatch, session_showing
from squeeze_onnx.certificate import (
    BoundedMeasure,
    Certificate,
    ClassProbabilities,
    CosineDistance,
    HeadRecord,
    Measure,
    Score,
    Spread,
    bound_deviation,
    notes_on,
)
from squeeze_onnx.errors import ModelError
from squeeze_onnx.graph.linear_head import LinearHead, find_linear_head
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.tasks.heads import ClassLogits, Head, Regression

_NO_LOGITS = (
    "The model answers with embeddings: there are no class probabilities to bound, the distance is measured only."
)
_NO_LINEAR_HEAD = (
    "The logits are not one weight times the features before it, so there is a measured deviation, but no bound."
)


def certify(
    dense: ir.Model,
    squeezed: ir.Model,
    head: Head,
    batches: Sequence[CalibrationBatch],
    *,
    provider: str = "cpu",
    track: Track = silent,
) -> Certificate:
    """Compare the answers that ``head`` reads from both models on ``batches``, and bound their distance where there is a bound.

    Raises ModelError if an answer is NaN or infinite.
    """
    reader = _Reader(head, batches, provider, track)
    match head:
        case ClassLogits():
            return _certify_logits(dense, squeezed, reader, ClassProbabilities())
        case Regression():
            return _certify_logits(dense, squeezed, reader, Score())
        case _:
            return _measure(dense, squeezed, reader, CosineDistance(), _NO_LOGITS)


def _certify_logits(dense: ir.Model, squeezed: ir.Model, reader: "_Reader", measure: BoundedMeasure) -> Certificate:
    before, after = (find_linear_head(model, reader.head.output) for model in (dense, squeezed))
    if before is None or after is None or before.in_features != after.in_features:
        return _measure(dense, squeezed, reader, measure, _NO_LINEAR_HEAD)
    expected, found = reader.record(dense, before), reader.record(squeezed, after)
    bound = bound_deviation(expected, found, measure)
    measured = Spread.of(measure.deviation(expected.logits, found.logits))
    return Certificate(len(found.logits), notes_on(bound, measure), measure.name, measured, bound)


def _measure(dense: ir.Model, squeezed: ir.Model, reader: "_Reader", measure: Measure, note: str) -> Certificate:
    deviation = measure.deviation(reader.answers(dense), reader.answers(squeezed))
    return Certificate(len(deviation), (note,), measure.name, Spread.of(deviation))


@dataclass(frozen=True)
class _Reader:
    """Reads from a model what ``head`` answers to all texts of ``batches``."""

    head: Head
    batches: Sequence[CalibrationBatch]
    provider: str
    track: Track

    def answers(self, model: ir.Model) -> np.ndarray:
        """Return the answers (texts, features)."""
        return self._run(model, ())[0]

    def record(self, model: ir.Model, linear: LinearHead) -> HeadRecord:
        """Return what its ``linear`` head read, and the answers."""
        logits, features = self._run(model, (linear.features,))
        return HeadRecord(features, linear.read_weight(), linear.read_bias(), logits)

    def _run(self, model: ir.Model, values: Sequence[str]) -> list[np.ndarray]:
        """Return the answers and the ``values`` of the graph in float64, a row a text."""
        names = (self.head.output, *values)
        parts = []
        with session_showing(model, names, self.provider) as session:
            for batch in self.track(self.batches, "Certificate"):
                output, *others = session.run(names, batch.feeds)
                answers = self.head.answers(output, _mask_of(output, batch.mask))
                parts.append([answers, *(other.astype(np.float64) for other in others)])
        found = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        if not all(np.isfinite(array).all() for array in found):
            raise ModelError(
                f"output {self.head.output!r} is NaN or infinite on the calibration data, before or after squeezing: check that "
                "the model answers every text, or keep more of it"
            )
        return found


def _mask_of(output: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return ``mask`` if ``output`` runs over its tokens, ones for everything that it runs over otherwise."""
    return np.ones(output.shape[:2]) if mask is None or mask.shape != output.shape[:2] else mask
