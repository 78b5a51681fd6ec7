"""What the dense model answers: computed once, kept on disk, and read a batch at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.learning.array_files import ArrayFiles
from squeeze_onnx.learning.losses import LossGraph
from squeeze_onnx.support.progress import Track, silent


class TaughtBatches:
    """Batches with the teacher's values, which lie in ``files``, for a loss ``graph``."""

    def __init__(self, batches: Sequence[CalibrationBatch], graph: LossGraph, files: ArrayFiles) -> None:
        self._batches = batches
        self._graph = graph
        self._files = files

    def feeds(self, index: int) -> dict[str, np.ndarray]:
        """Return all inputs of the loss graph for one batch."""
        return {**self._batches[index].feeds, **self.taught(index, self._graph)}

    def taught(self, index: int, graph: LossGraph) -> dict[str, np.ndarray]:
        """Return what ``graph``, which compares some of these values, is fed for one batch, the inputs of the model aside."""
        return graph.feeds(self._batches[index], self._files.read(index, graph.targets))


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
            files.write(index, {name: _without_padding(array, batch) for name, array in found})
    return TaughtBatches(batches, graph, files)


def _without_padding(value: np.ndarray, batch: CalibrationBatch) -> np.ndarray:
    """Return ``value`` as float32, with zeros in the rows that do not count."""
    mask = batch.counted(value.shape[:-1])
    return (value if mask is None else value * mask[..., np.newaxis]).astype(np.float32)
