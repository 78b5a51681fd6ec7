"""The gate: how much of a task's metric may be lost, and which rows have a say in it.

Three sets of rows, so that nothing is tuned on what it is judged by: calibration reads texts of the train split without their
labels, budgets are searched on labelled rows of the train split that calibration did not read, and the gate itself stands on the
dev set.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from squeeze_onnx.compress.calibration_source import CalibrationConfig, calibration_rows
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.glue import Task, find_task
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.readers import LabelledRows, read_train, read_validation
from squeeze_onnx.data.vocabulary import encoder_of
from squeeze_onnx.evaluate.evaluator import Exam, Examiner
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.typed_fields import check_fields

FEWEST_ROWS = 100
"""Rows it takes for one of them to be a point of accuracy or less."""


@made_by_name
@dataclass(frozen=True)
class GateConfig:
    """How much may be lost, and how that is measured.

    max_drop: points of the task's primary metric that may be lost; a point is 0.01.
    task: the task that is scored.
    data: a folder of GLUE splits, or a hub name.
    rows: rows of the train split that budgets are searched on.
    batch_size: sequences that are run at once.
    max_tokens: tokens a sequence is cut to; None for what the files beside the model say.
    tokenizer: a tokenizer.json or a folder with one, instead of that beside the model.
    """

    max_drop: float
    task: str | None
    data: str | Path | None
    rows: int = 1024
    batch_size: int = 32
    max_tokens: int | None = None
    tokenizer: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        # The comparison is turned so that NaN is refused too.
        if not self.max_drop >= 0:
            raise OptionError(f"--max-drop is a number of points, 0 or more; got {self.max_drop}")
        if self.task is None:
            raise OptionError("--max-drop is in points of a task's metric; name the task with --task")
        find_task(self.task)
        if self.data is None:
            raise OptionError(f"--task {self.task} needs --data: a folder of GLUE splits, or nyu-mll/glue for the hub")


@dataclass(frozen=True, eq=False)
class GradedRows:
    """What budgets are searched on and what the gate looks at; one and the same if the data has no train split."""

    selection: LabelledRows
    final: LabelledRows

    @property
    def texts(self) -> set[str]:
        """All texts that a budget is chosen by."""
        return {text for texts in self.selection.texts for text in texts}


def choose_rows(gate: GateConfig, calibration: CalibrationConfig | None, seed: int) -> GradedRows:
    """Read the rows of ``gate``. Of a task with two dev sets (mnli) the first one counts.

    Raises as `read_train` and `read_validation` do, and OptionError if calibration leaves fewer than `FEWEST_ROWS`.
    """
    assert gate.task is not None and gate.data is not None, "checked by GateConfig"
    task = find_task(gate.task)
    final = read_validation(task, gate.data)[0]
    train = read_train(task, gate.data)
    return GradedRows(final if train is None else _not_calibrated_on(train, task, gate, calibration, seed), final)


def set_exams(
    model: OnnxModel, rows: GradedRows, gate: GateConfig, config: OptimizeConfig, track: Track = silent
) -> tuple[Exam, Exam]:
    """Ask ``model`` about both kinds of ``rows``; raises as `Exam.of` does."""
    assert gate.task is not None, "checked by GateConfig"
    settings = read_settings(model.path, config.asked)
    encoder = encoder_of(model, settings, gate.tokenizer, max_tokens=gate.max_tokens)
    examiner = Examiner(find_task(gate.task), settings, encoder, config.provider, gate.batch_size, config.seed)
    final = Exam.of(examiner, rows.final, model.path, track)
    return final if rows.selection is rows.final else Exam.of(examiner, rows.selection, model.path, track), final


def _not_calibrated_on(
    train: LabelledRows, task: Task, gate: GateConfig, calibration: CalibrationConfig | None, seed: int
) -> LabelledRows:
    """Draw rows of the train split none of whose texts calibration reads."""
    read = {text for texts in (calibration_rows(calibration) if calibration else ()) for text in texts}
    free = np.array([number for number, texts in enumerate(train.texts) if read.isdisjoint(texts)])
    if len(free) < FEWEST_ROWS:
        raise OptionError(
            f"the {train.split.name} split of {task.name} has {len(free)} rows that calibration does not read, and a point "
            f"cannot be told on fewer than {FEWEST_ROWS}: lower --calibration-rows, or give --data more rows"
        )
    return train.pick(np.random.default_rng(seed).permutation(free)[: gate.rows])
