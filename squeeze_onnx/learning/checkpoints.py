"""The state of a learning run in one file, so that a run that was killed goes on where it stood."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.staging import staged_file
from squeeze_onnx.support.typed_fields import check_fields

FORMAT = 1


@made_by_name
@dataclass(frozen=True)
class CheckpointConfig:
    """Where a learning run keeps its state.

    path: the file.
    minutes: how many pass from one saving to the next.
    """

    path: Path
    minutes: float = 5.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.minutes >= 0:
            raise OptionError(f"`checkpoint_minutes` is a number of minutes, 0 or more; got {self.minutes}")


@dataclass(frozen=True)
class Checkpoint:
    """A file, and the fingerprint of the run that it belongs to."""

    path: Path
    fingerprint: str

    def save(self, state: Mapping[str, np.ndarray]) -> None:
        """Write ``state``; the file is replaced as a whole or not at all."""
        with staged_file(self.path) as partial, partial.open("wb") as file:
            np.savez(file, format=FORMAT, fingerprint=self.fingerprint, **state)  # type: ignore[arg-type]

    def load(self) -> dict[str, np.ndarray] | None:
        """Return the state, or None if nothing was saved yet.

        Raises OptionError if the file is not readable, or another run's.
        """
        if not self.path.exists():
            return None
        try:
            with self.path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
                state = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise OptionError(
                f"the checkpoint {self.path} cannot be read ({error}): delete it to start anew"
            ) from error
        if state.pop("format", None) != FORMAT or state.pop("fingerprint", None) != self.fingerprint:
            raise OptionError(
                f"the checkpoint {self.path} belongs to a run on other data, another model or other options: delete it to start "
                "anew, or name another folder with `checkpoint`"
            )
        return state
