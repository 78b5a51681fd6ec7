"""Inputs of a model that somebody saved as an .npz, an array an input with a sample (a text, an image …) a row."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.positions import mask_of_tokens
from squeeze_onnx.runtime.sessions import ValueSpec
from squeeze_onnx.support.errors import DataError


@dataclass(frozen=True, eq=False)
class SavedInputs:
    """Arrays by the name of the input, all of the same number of rows; ``batch`` is how many the graph takes, None for any."""

    arrays: Mapping[str, np.ndarray]
    batch: int | None = None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def key(self, row: int) -> bytes:
        """Return what tells this row from others that are not the same."""
        digest = sha256()
        for array in self.arrays.values():
            digest.update(np.ascontiguousarray(array[row]).tobytes())
        return digest.digest()

    def cut(self, rows: np.ndarray, batch_size: int) -> tuple[CalibrationBatch, ...]:
        """Return these ``rows`` in batches; a fixed number of them is filled up in the last one by rows taken twice."""
        size = self.batch or batch_size
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return tuple(self._batch(part if self.batch is None else np.resize(part, self.batch)) for part in parts)

    def _batch(self, rows: np.ndarray) -> CalibrationBatch:
        feeds = {name: array[rows] for name, array in self.arrays.items()}
        return CalibrationBatch(feeds, mask_of_tokens(feeds))


def read_saved_inputs(path: Path, inputs: Sequence[ValueSpec], option: str) -> SavedInputs:
    """Read an .npz for a graph with these ``inputs``; messages name it as the value of ``option``.

    Raises DataError for what is no .npz, unless it holds an array for every input, as many rows in each, of the declared shape.
    """
    place = f"{option} {path}"
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise DataError(f"{place} is not an .npz of arrays ({error}); save one with numpy.savez") from error
    wanted = [value.name for value in inputs]
    if sorted(arrays) != sorted(wanted):
        raise DataError(f"{place} holds {', '.join(sorted(arrays)) or 'nothing'}; the model takes {', '.join(wanted)}")
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(lengths) < len(arrays) or len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise DataError(f"{place}: every array needs the same number of rows, one a sequence; got {lengths}")
    for value in inputs:
        _check_shape(place, value, arrays[value.name])
    return SavedInputs(arrays, declared_batch(inputs))


def declared_batch(inputs: Sequence[ValueSpec]) -> int | None:
    """Return how many samples a graph with these ``inputs`` takes at once, None if any number."""
    declared = (value.shape[0] for value in inputs if value.shape)
    return next((size for size in declared if isinstance(size, int)), None)


def _check_shape(place: str, value: ValueSpec, array: np.ndarray) -> None:
    """Raise DataError if a row of ``array`` has another shape than ``value`` declares; how many rows there are is free."""
    declared = value.shape[1:]
    fits = len(declared) == array.ndim - 1 and all(
        size == found for size, found in zip(declared, array.shape[1:], strict=True) if isinstance(size, int)
    )
    if value.shape and not fits:
        wanted = " × ".join(map(str, declared)) or "one number"
        found = " × ".join(map(str, array.shape[1:])) or "one number"
        raise DataError(f"{place}: a row of {value.name} is {found}; the model takes {wanted}")
