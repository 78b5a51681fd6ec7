"""Text that neither the calibration nor a score looks at: what settings are chosen on."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import click
import onnx_ir as ir

from squeeze_onnx import CalibrationConfig, load_calibration, load_model
from squeeze_onnx.compress.calibration_source import TO_CALIBRATE, calibration_rows, text_batches
from squeeze_onnx.compress.certification import certificate_of
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from tools.measuring import results_path

HELD_OUT = 512


@dataclass(frozen=True)
class Trial:
    """A dense model, the train text it is calibrated on, and `HELD_OUT` rows of it that are not among those, to judge by."""

    dense: OnnxModel
    drawn: CalibrationConfig
    calibration: Sequence[CalibrationBatch]
    held_out: Sequence[CalibrationBatch]

    @classmethod
    def of(cls, path: Path, task: str, glue: Path, *, rows: int = TO_CALIBRATE.rows) -> Self:
        """Load the model at ``path`` and ``rows`` of the text of ``task``; no text of a held-out row is read by calibration."""
        dense = load_model(path)
        drawn = CalibrationConfig(f"glue:{task}", glue, rows=rows)
        seen = {text for row in calibration_rows(drawn) for text in row}
        more = calibration_rows(replace(drawn, rows=rows + 4 * HELD_OUT))
        held_out = text_batches(dense, [row for row in more if seen.isdisjoint(row)][:HELD_OUT], drawn)
        return cls(dense, drawn, load_calibration(dense, drawn), held_out)

    def movement(self, squeezed: ir.Model) -> dict[str, Any]:
        """Return how far the answers to held-out text move: what was measured, its mean and its worst."""
        certificate = certificate_of(self.dense, squeezed, self.held_out).to_json()
        return {"measure": certificate["measure"], **certificate["measured"]}


def keep(rows: Iterable[Mapping[str, Any]], name: str, kind: str, asked: Mapping[str, Sequence[object]]) -> None:
    """Print ``rows`` as they come, and keep them in models/NAME/results/KIND.json with the command, options ``asked``."""
    options = [f"--{option} {value}" for option, values in asked.items() for value in values]
    command = " ".join([f"python -m tools.choose_{kind} --glue DIR --model", name, *options])
    found: list[Mapping[str, Any]] = []
    for row in rows:
        found.append(row)
        document = {"text": "train", "command": command, "rows": found}
        results_path(name, kind).write_text(json.dumps(document, indent=1) + "\n")
        click.echo(f"{name}: {row}")
