"""What `optimize` and the search for a budget are given by name."""

from pathlib import Path
from typing import TypedDict

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.support.progress import Track


class Given(TypedDict, total=False):
    """What a run may be given by name, beside its configuration.

    ``calibration`` is where text comes from, ``plan`` one to carry out again; distillation keeps its state in ``checkpoint``. In
    a folder ``cache`` what is learned of the model is kept, for other budgets. With ``force`` an output is replaced; ``track`` is
    told how far it got.
    """

    calibration: CalibrationConfig | None
    plan: Plan | None
    checkpoint: CheckpointConfig | None
    cache: Path | None
    force: bool
    track: Track
