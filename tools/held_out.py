"""Text that neither the calibration nor a score looks at: what settings are chosen on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import onnx_ir as ir

from squeeze_onnx import CalibrationConfig, load_calibration, load_model
from squeeze_onnx.compress.calibration_source import calibration_rows, text_batches
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.looker import certificate_of
from squeeze_onnx.compress.text_amounts import TO_CALIBRATE
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from tools.measuring import Clock, Recorder, Shared
from tools.tolerances import LEARNED_MOVEMENT, MOVEMENT

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
        certificate = certificate_of(Context(self.dense, batches=self.held_out), squeezed).to_json()
        return {"measure": certificate["measure"], **certificate["measured"]}


@dataclass(frozen=True)
class Setting:
    """A row of a choice: its label, what measures it, and whether weights learn over hundreds of steps for it."""

    label: str
    measure: Callable[[], Mapping[str, Any]]
    learned: bool = False


def keep(
    settings: Iterable[Setting], recorder: Recorder, name: str, kind: str, asked: Mapping[str, Sequence[object]]
) -> None:
    """Measure ``settings`` of the model ``name`` and keep the rows; ``asked`` are the options that said which there are.

    What settings share (text, surveys) counts for the first of them.
    """
    clock = Clock()
    options = (each for option, values in asked.items() for value in values for each in (f"--{option}", str(value)))
    command = (f"tools.choose_{kind}", "--model", name, *options)
    for setting in settings:
        if recorder.wants(setting.label):
            with recorder.attempt(setting.label):
                values = setting.measure()
                allowed = {"mean": LEARNED_MOVEMENT if setting.learned else MOVEMENT}
                shared = Shared("text and surveys", 0.0)
                recorder.keep(
                    f"{name}/{kind}", setting.label, command, values, allowed, seconds=clock.lap(), shared=shared
                )
