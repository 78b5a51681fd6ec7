"""What the dense model answers: computed once, kept on disk, and read a batch at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.learning.array_files import ArrayFiles
from squeeze_onnx.learning.losses import MASK, LossGraph, full_mask
from squeeze_onnx.support.progress import Track, silent


class TaughtBatches:
    """Batches with the teacher's values as ``targets`` (value → input of the loss graph); they lie in ``files``."""

    def __init__(self, batches: Sequence[CalibrationBatch], targets: Mapping[str, str], files: ArrayFiles) -> None:
        self._batches = batches
        self._targets = targets
        self._files = files

    def feeds(self, index: int) -> dict[str, np.ndarray]:
        """Return all inputs of the loss graph for one batch."""
        return {**self._batches[index].feeds, **self.taught(index, self._targets)}

    def taught(self, index: int, targets: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Return what a loss graph with these of the ``targets`` is fed for one batch, the inputs of the model aside."""
        batch = self._batches[index]
        values = self._files.read(index, targets)
        return {MASK: full_mask(batch.feeds, batch.mask), **{targets[name]: array for name, array in values.items()}}


def teach(
    teacher: ir.Model,
    graph: LossGraph,
    batches: Sequence[CalibrationBatch],
    folder: Path,
    *,
    provider: str = "cpu",
    track: Track = silent,
) -> TaughtBatches:
    """Run ``teacher`` on ``batches`` and write the values that ``graph`` compares with into ``folder``."""
    values, files = tuple(graph.targets), ArrayFiles(folder)
    with session_showing(teacher, values, provider) as session:
        for index, batch in enumerate(track(batches, "Teacher")):
            found = zip(values, session.run(values, batch.feeds), strict=True)
            mask = full_mask(batch.feeds, batch.mask)
            files.write(index, {name: _without_padding(array, mask) for name, array in found})
    return TaughtBatches(batches, graph.targets, files)


def _without_padding(value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return ``value`` as float32, with zeros at padding if it runs over tokens."""
    return (value * mask[..., np.newaxis] if value.ndim == 3 else value).astype(np.float32)
