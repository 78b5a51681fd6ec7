"""What lies in a bundle of a model that reads other inputs than text: pictures, sound, boxes beside words."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.saved_inputs import read_saved_inputs
from squeeze_onnx.runtime.sessions import open_session

EXAMPLE = "example.npz"


def write_example(data: Path, model: Path, folder: Path) -> None:
    """Put the first row of the inputs saved at ``data`` into ``folder``, or as many as ``model`` takes at once.

    Raises DataError for inputs that are not those of the model.
    """
    saved = read_saved_inputs(data, open_session(model).inputs, "`data`")
    np.savez(folder / EXAMPLE, allow_pickle=False, **saved.cut(np.arange(1), 1)[0].feeds)


def script() -> bytes:
    """Return the bundle's run.py."""
    return (files("squeeze_onnx.workflows.packaging") / "templates" / "run_inputs.py.txt").read_bytes()


def described(model: Path) -> dict[str, Any]:
    """Return what manifest.json says under ``inputs``."""
    session = open_session(model)
    declared = {value.name: {"type": value.type, "shape": list(value.shape)} for value in session.inputs}
    return {"example": EXAMPLE, "declared": declared}
