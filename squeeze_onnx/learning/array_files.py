"""Arrays that are too many for memory: a file for each batch, read one at a time."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from squeeze_onnx.support.errors import MachineError
from squeeze_onnx.support.reservation import is_disk_full


class ArrayFiles:
    """The arrays of each batch by the name of the value, whatever that is, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._entries: dict[int, dict[str, str]] = {}

    def write(self, index: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep ``arrays`` for the batch ``index`` instead of what was kept for it. Raises MachineError if the disk is full."""
        self._entries[index] = {name: f"arr_{place}" for place, name in enumerate(arrays)}  # as np.savez calls them
        try:
            with self._file(index).open("wb") as file:
                np.savez(file, *arrays.values())
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise MachineError(
                f"{self._folder} has no room for what the models answer ({error.strerror}): lower `calibration_rows`, or name "
                "a folder of a larger disk in the environment variable TMPDIR"
            ) from error

    def read(self, index: int, names: Collection[str]) -> dict[str, np.ndarray]:
        """Return those arrays of the batch ``index`` that have ``names``."""
        with np.load(self._file(index)) as archive:
            return {name: archive[self._entries[index][name]] for name in names}

    def _file(self, index: int) -> Path:
        return self._folder / f"{index}.npz"
