"""What lies in a bundle of a model that reads other inputs than text: pictures, sound, boxes beside words."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.saved_inputs import read_saved_inputs
from squeeze_onnx.runtime.sessions import open_session

EXAMPLE = "example.npz"


def write_example(data: Path, model: Path, folder: Path) -> dict[str, Any]:
    """Put the first row of the inputs saved at ``data`` into ``folder``, or as many as ``model`` takes at once.

    Returns what manifest.json says under ``inputs``. Raises DataError for inputs that are not those of the model.
    """
    inputs = open_session(model).inputs
    saved = read_saved_inputs(data, inputs, "`data`")
    np.savez(folder / EXAMPLE, allow_pickle=False, **saved.cut(np.arange(1), 1)[0].feeds)
    declared = {value.name: {"type": value.type, "shape": list(value.shape)} for value in inputs}
    return {"example": EXAMPLE, "declared": declared}


def script() -> bytes:
    """Return the bundle's run.py."""
    return (files("squeeze_onnx.workflows.packaging") / "templates" / "run_inputs.py.txt").read_bytes()
