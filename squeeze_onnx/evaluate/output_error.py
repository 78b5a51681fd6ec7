"""How far the outputs of a model move when something in it is disturbed by an input of the graph."""

from collections.abc import Mapping, Sequence

import numpy as np

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.output_rows import output_rows, scales_of, share_moved
from squeeze_onnx.runtime.sessions import Session

PROBE_TOKENS = 256
"""About how many tokens of calibration data each probe runs on.

Against 4,096 of them, the sensitivities of a MiniLM that embeds sentences scatter by 9 % (standard deviation of the logarithm;
1,024: 3 %). A classifier answers once a text, and texts differ more than tokens do: those of MiniLM-MRPC on a batch of 16 pairs,
864 tokens, scatter by 60 % against 64 pairs. Whole batches are therefore run, however many tokens they have: on 5 pairs ranks are
chosen worse (held-out probabilities move by 0.053 instead of 0.048 at keep 0.5), on 128 hardly better (0.043; the same at 0.33).
"""


class OutputErrorMeter:
    """A session with inputs that disturb it, and its outputs while these are ``still``, read by ``head`` if it is known."""

    def __init__(
        self,
        session: Session,
        batches: Sequence[CalibrationBatch],
        still: Mapping[str, np.ndarray],
        head: Head | None = None,
    ) -> None:
        self._session = session
        self._head = head
        self._batches = batches
        self._still = still
        self._reference = output_rows(session, batches, still, head)
        self._scales = scales_of(self._reference)

    def output_error(self, disturbance: Mapping[str, np.ndarray]) -> float:
        """Return the squared distance the outputs move over their variance, if these inputs are not still."""
        moved = output_rows(self._session, self._batches, {**self._still, **disturbance}, self._head)
        return share_moved(moved, self._reference, self._scales)

    def distance_to(self, other: "OutputErrorMeter") -> float:
        """Return how far the undisturbed outputs are from those of the ``other`` model, over the variance of these."""
        return share_moved(self._reference, other._reference, other._scales)


def probe_batches(batches: Sequence[CalibrationBatch]) -> list[CalibrationBatch]:
    """Take batches of the median length until they hold `PROBE_TOKENS` tokens: the shortest and longest are not typical."""
    chosen: list[CalibrationBatch] = []
    tokens = 0
    middle = len(batches) // 2
    for index in sorted(range(len(batches)), key=lambda index: abs(index - middle)):
        if tokens >= PROBE_TOKENS:
            break
        chosen.append(batches[index])
        tokens += batches[index].positions
    return chosen
