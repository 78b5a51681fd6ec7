"""What the dense model answers: computed once, kept on disk, and read a batch at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze_onnx.calibration import CalibrationBatch, session_showing
from squeeze_onnx.learning.losses import MASK, LossGraph, full_mask
from squeeze_onnx.progress import Track, silent


class TaughtBatches:
    """Batches with the teacher's values as targets, as a loss graph is fed; the targets lie in ``folder``."""

    def __init__(self, batches: Sequence[CalibrationBatch], folder: Path) -> None:
        self._batches = batches
        self._folder = folder

    def __len__(self) -> int:
        return len(self._batches)

    def feeds(self, index: int) -> dict[str, np.ndarray]:
        """Return all inputs of the loss graph for one batch."""
        batch = self._batches[index]
        with np.load(_file(self._folder, index)) as targets:
            return {**batch.feeds, MASK: full_mask(batch.feeds, batch.mask), **targets}

    def sequences(self, index: int) -> int:
        """Return how many sequences a batch has."""
        return len(next(iter(self._batches[index].feeds.values())))


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
    values: Mapping[str, str] = graph.targets
    with session_showing(teacher, tuple(values), provider) as session:
        for index, batch in enumerate(track(batches, "Teacher")):
            found = session.run(tuple(values), batch.feeds)
            mask = full_mask(batch.feeds, batch.mask)
            targets = {name: _without_padding(array, mask) for name, array in zip(values.values(), found, strict=True)}
            with _file(folder, index).open("wb") as file:
                np.savez(file, **targets)  # type: ignore[arg-type]
    return TaughtBatches(batches, folder)


def _without_padding(value: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return ``value`` as float32, with zeros at padding if it runs over tokens."""
    return (value * mask[..., np.newaxis] if value.ndim == 3 else value).astype(np.float32)


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index}.npz"
