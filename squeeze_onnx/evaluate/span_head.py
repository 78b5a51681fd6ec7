"""The head of a model that answers questions by a part of their context: where it starts, and where it ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.data.readers import Texts
from squeeze_onnx.evaluate.fidelity import Fidelity, score_fidelity
from squeeze_onnx.runtime.sessions import ValueSpec


@dataclass(frozen=True)
class SpanLogits:
    """Logits of the first and of the last token of an answer, two outputs (sequences, tokens); an answer is about a token."""

    start: str
    end: str
    kind = "span_logits"

    @property
    def output(self) -> str:
        """See Head."""
        return self.start

    def sequences(self, rows: Sequence[Texts]) -> list[Texts]:
        """Read pairs together."""
        return list(rows)

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the logits of the tokens as a column."""
        return np.asarray(output[mask.astype(bool)].astype(np.float64)[:, np.newaxis])

    def owners(self, mask: np.ndarray) -> np.ndarray:
        """Return the sequence of each token."""
        return np.nonzero(mask)[0]

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """See `squeeze_onnx.evaluate.asking.spans`: what a span says takes its context."""
        raise NotImplementedError

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare the logits of all tokens."""
        return score_fidelity(baseline.reshape(-1, 1), candidate.reshape(-1, 1))


def answers_by_span(outputs: Sequence[ValueSpec], asked: str | None) -> bool:
    """Say whether a model with ``outputs`` is asked questions of a context: unless another output is ``asked`` for by name."""
    return asked is None and span_head(outputs) is not None


def span_head(outputs: Sequence[ValueSpec]) -> SpanLogits | None:
    """Return the head if two of ``outputs`` are called after the start and the end, else None."""
    found = [
        [value.name for value in outputs if word in value.name.lower() and len(value.shape) == 2]
        for word in ("start", "end")
    ]
    starts, ends = found
    return SpanLogits(starts[0], ends[0]) if len(starts) == len(ends) == 1 else None
