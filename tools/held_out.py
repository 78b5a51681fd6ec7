"""Text that neither the calibration nor a score looks at: what settings are chosen on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from squeeze_onnx import CalibrationConfig
from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.calibration_source import calibration_rows, text_batches
from squeeze_onnx.graph.model import OnnxModel
from squeeze_onnx.squeezing import certificate_of

HELD_OUT = 512


def held_out_batches(model: OnnxModel, task: str, glue: Path) -> Sequence[CalibrationBatch]:
    """Return batches of `HELD_OUT` rows of train text that calibration does not draw, none of whose texts it reads."""
    drawn = CalibrationConfig(f"glue:{task}", glue)
    seen = {text for row in calibration_rows(drawn) for text in row}
    more = calibration_rows(replace(drawn, rows=drawn.rows + 4 * HELD_OUT))
    return text_batches(model, [row for row in more if seen.isdisjoint(row)][:HELD_OUT], drawn)


def movement(dense: OnnxModel, squeezed: ir.Model, batches: Sequence[CalibrationBatch]) -> dict[str, Any]:
    """Return how far the answers to ``batches`` moved: what was measured, its mean and its worst."""
    certificate = certificate_of(dense, squeezed, batches).to_json()
    return {"measure": certificate["measure"], **certificate["measured"]}
