"""How far the outputs of a model move when something in it is disturbed by an input of the graph."""

from collections.abc import Mapping, Sequence

import numpy as np

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.heads import Head, SentenceEmbedding
from squeeze_onnx.runtime.sessions import Session, ValueSpec

PROBE_TOKENS = 256
"""About how many tokens of calibration data each probe runs on.

Against 4,096 of them, the sensitivities of a MiniLM scatter by 9 % (standard deviation of the logarithm; 1,024: 3 %).
"""

NO_FEEDS: Mapping[str, np.ndarray] = {}


class DamageMeter:
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
        self._reference = self._outputs({})

    def damage(self, disturbance: Mapping[str, np.ndarray]) -> float:
        """Return the squared distance the outputs move over their variance, if these inputs are not still."""
        return share_moved(self._outputs(disturbance), self._reference)

    def _outputs(self, disturbance: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return output_rows(self._session, self._batches, {**self._still, **disturbance}, self._head)


def output_rows(
    session: Session,
    batches: Sequence[CalibrationBatch],
    other_feeds: Mapping[str, np.ndarray] = NO_FEEDS,
    head: Head | None = None,
) -> list[np.ndarray]:
    """Run all ``batches``, with ``other_feeds`` each; return every output as rows (sequences or tokens, features), float64.

    Of the output that ``head`` makes embeddings of, the rows are these.
    """
    runs = [session.run(None, {**batch.feeds, **other_feeds}) for batch in batches]
    masks = [batch.mask for batch in batches]
    outputs = zip(session.outputs, zip(*runs, strict=True), strict=True)
    return [np.concatenate(_rows(spec, found, masks, head)) for spec, found in outputs]


def share_moved(moved: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """Return the squared distance of the rows ``moved`` from ``reference`` over its variance, averaged over outputs that vary.

    Where none does, as on a single text, squares stand for variances.
    """
    variances = [float(np.square(rows - rows.mean(axis=0)).sum()) for rows in reference]
    if not any(variance > 0 for variance in variances):
        variances = [float(np.square(rows).sum()) for rows in reference]
    shares = [
        float(np.square(rows - before).sum()) / variance
        for rows, before, variance in zip(moved, reference, variances, strict=True)
        if variance > 0
    ]
    return float(np.mean(shares)) if shares else 0.0


def _rows(
    spec: ValueSpec, found: Sequence[np.ndarray], masks: Sequence[np.ndarray | None], head: Head | None
) -> list[np.ndarray]:
    """Return what was ``found`` at one output, batch by batch, with a row a sequence; tokens that are text are averaged.

    One number a token, as where a span begins, has a row a token: longer sequences have more of them.
    """
    if isinstance(head, SentenceEmbedding) and spec.name == head.output:
        return [head.answers(output, _text(output, mask)) for output, mask in zip(found, masks, strict=True)]
    values = [output.astype(np.float64) for output in found]
    texts = [mask.astype(bool) for mask in masks if mask is not None]
    if len(texts) == len(values) and all(o.shape[:2] == text.shape for o, text in zip(values, texts, strict=True)):
        if values[0].ndim == 3:
            return [_mean(output, text) for output, text in zip(values, texts, strict=True)]
        # A fixed number of classes may be that of the tokens by coincidence.
        if values[0].ndim == 2 and not isinstance(spec.shape[1], int):
            return [output[text][:, np.newaxis] for output, text in zip(values, texts, strict=True)]
    return [output.reshape(len(output), -1) for output in values]


def _text(output: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return ``mask`` if ``output`` runs over its tokens, ones otherwise."""
    return np.ones(output.shape[:2]) if mask is None or mask.shape != output.shape[:2] else mask


def _mean(output: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Return the mean (sequences, features) over the tokens of ``output`` that are ``text``."""
    mean: np.ndarray = np.einsum("stf,st->sf", output, text.astype(np.float64)) / text.sum(axis=1, keepdims=True)
    return mean


def probe_batches(batches: Sequence[CalibrationBatch]) -> list[CalibrationBatch]:
    """Take batches of the median length until they hold `PROBE_TOKENS` tokens: the shortest and longest are not typical."""
    chosen: list[CalibrationBatch] = []
    tokens = 0
    middle = len(batches) // 2
    for index in sorted(range(len(batches)), key=lambda index: abs(index - middle)):
        if tokens >= PROBE_TOKENS:
            break
        chosen.append(batches[index])
        tokens += max(array.size for array in batches[index].feeds.values())
    return chosen
