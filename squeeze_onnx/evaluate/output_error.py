"""How far the outputs of a model move when something in it is disturbed by an input of the graph."""

from collections.abc import Mapping, Sequence

import numpy as np

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.runtime.sessions import Session, ValueSpec

PROBE_TOKENS = 256
"""About how many tokens of calibration data each probe runs on.

Against 4,096 of them, the sensitivities of a MiniLM scatter by 9 % (standard deviation of the logarithm; 1,024: 3 %).
"""


class DamageMeter:
    """A session with inputs that disturb it, and its outputs while these are ``still``."""

    def __init__(self, session: Session, batches: Sequence[CalibrationBatch], still: Mapping[str, np.ndarray]) -> None:
        self._session = session
        self._batches = batches
        self._still = still
        self._reference = self._outputs({})
        self._variance = [float(np.square(rows - rows.mean(axis=0)).sum()) for rows in self._reference]

    def damage(self, disturbance: Mapping[str, np.ndarray]) -> float:
        """Return the squared distance the outputs move over their variance, if these inputs are not still."""
        moved = self._outputs(disturbance)
        return float(
            np.mean(
                [
                    np.square(rows - reference).sum() / variance
                    for rows, reference, variance in zip(moved, self._reference, self._variance, strict=True)
                    if variance > 0
                ]
            )
        )

    def _outputs(self, disturbance: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run all batches; each floating-point output as rows (sequences or tokens, features)."""
        runs = [self._session.run(None, {**batch.feeds, **self._still, **disturbance}) for batch in self._batches]
        masks = [batch.mask for batch in self._batches]
        outputs = zip(self._session.outputs, zip(*runs, strict=True), strict=True)
        return [np.concatenate(_rows(spec, found, masks)) for spec, found in outputs]


def _rows(spec: ValueSpec, found: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Return what was ``found`` at one output, batch by batch, with a row a sequence; tokens that are text are averaged.

    One number a token, as where a span begins, has a row a token: longer sequences have more of them.
    """
    values = [output.astype(np.float64) for output in found]
    texts = [mask.astype(bool) for mask in masks if mask is not None]
    if len(texts) == len(values) and all(o.shape[:2] == text.shape for o, text in zip(values, texts, strict=True)):
        if values[0].ndim == 3:
            return [_mean(output, text) for output, text in zip(values, texts, strict=True)]
        # A fixed number of classes may be that of the tokens by coincidence.
        if values[0].ndim == 2 and not isinstance(spec.shape[1], int):
            return [output[text][:, np.newaxis] for output, text in zip(values, texts, strict=True)]
    return [output.reshape(len(output), -1) for output in values]


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
