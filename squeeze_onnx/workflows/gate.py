"""The gate: how much of a task's metric may be lost, and which rows have a say in it.

Three sets of rows, so that nothing is tuned on what it is judged by: calibration reads texts of the train split without their
labels, budgets are searched on labelled rows of the train split that calibration did not read, and the gate itself stands on the
dev set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from squeeze_onnx.compress.calibration_source import CalibrationConfig, calibration_rows
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.readers import LabelledRows, Texts, read_train, read_validation
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.data.vocabulary import encoder_of
from squeeze_onnx.evaluate.evaluator import Evaluator, Predictor
from squeeze_onnx.evaluate.metrics import find_metrics
from squeeze_onnx.evaluate.own_data import AskedModel, check_own_options, read_own_data, read_own_train, usual_length
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.typed_fields import check_fields
from squeeze_onnx.workflows.kept_words import refuse_tokenizer

FEWEST_ROWS = 100
"""Rows it takes for one of them to be a point of accuracy or less."""


@made_by_name
@dataclass(frozen=True)
class GateConfig:
    """How much may be lost, and how that is measured.

    max_drop: points of the primary metric that may be lost; a point is 0.01.
    task: the task of GLUE that is scored; None for own data.
    data: a folder of GLUE splits, or a hub name; without a task a file of own rows, or a folder of them.
    rows: rows of the train split that budgets are searched on.
    batch_size: sequences that are run at once.
    max_tokens: tokens a sequence is cut to; None for what the files beside the model say.
    tokenizer: a tokenizer.json or a folder with one, instead of that beside the model.
    columns: columns of own rows, text=NAME, text2=NAME of a pair, label=NAME; None to find them by common names.
    metrics: what scores own rows, the first one counts; none for what is usual for their labels.
    """

    max_drop: float
    task: str | None
    data: str | Path | None
    rows: int = 1024
    batch_size: int = 32
    max_tokens: int | None = None
    tokenizer: Path | None = None
    columns: str | None = None
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        check_own_options(self.task, self.data, self.columns, self.metrics)
        # The comparison is turned so that NaN is refused too.
        if not self.max_drop >= 0:
            raise OptionError(f"`max_drop` is a number of points, 0 or more; got {self.max_drop}")
        if self.task is None and self.data is None:
            raise OptionError(
                "`max_drop` is in points of a task's metric; name the task with `task`, or labelled rows with `data` FILE"
            )
        if self.task is not None:
            find_task(self.task)
        if self.data is None:
            raise OptionError(f"`task` {self.task} needs `data`: a folder of GLUE splits, or nyu-mll/glue for the hub")


@dataclass(frozen=True, eq=False)
class GradedRows:
    """What budgets are searched on and what the gate looks at; one and the same if the data has no train split."""

    task: Task
    selection: LabelledRows
    final: LabelledRows

    @property
    def texts(self) -> set[str]:
        """All texts that a budget is chosen by."""
        return {text for texts in _read_texts(self.selection, self.task) for text in texts}


def choose_rows(
    model: OnnxModel, gate: GateConfig, calibration: CalibrationConfig | None, config: OptimizeConfig
) -> GradedRows:
    """Read the rows of ``gate``. Of a task with two dev sets (mnli) the first one counts.

    Raises as `read_train`, `read_validation` and `read_own_data` do, and OptionError if calibration leaves fewer than
    `FEWEST_ROWS`.
    """
    assert gate.data is not None, "checked by GateConfig"
    if gate.task is None:
        return _choose_own(model, Path(gate.data), gate, calibration, config)
    task = find_task(gate.task)
    final = read_validation(task, gate.data)[0]
    train = read_train(task, gate.data)
    if train is None:
        return GradedRows(task, final, final)
    return GradedRows(task, _not_calibrated_on(train, task, gate, calibration, config.seed), final)


def _choose_own(
    model: OnnxModel, path: Path, gate: GateConfig, calibration: CalibrationConfig | None, config: OptimizeConfig
) -> GradedRows:
    """Read own rows; without a train split what calibration does not read is halved, if there is enough of it."""
    asked = AskedModel.of(open_session(model.path), read_settings(model.path, config.asked))
    columns = None if gate.columns is None else Columns.parse(gate.columns)
    own = read_own_data(path, asked, columns=columns, metrics=find_metrics(gate.metrics), must_score=True)
    assert own.task is not None and own.rows is not None, "it must score"
    task, rows = own.task, own.rows
    train = read_own_train(path, asked, task, columns=columns)
    if train is not None:
        return GradedRows(task, _not_calibrated_on(train, task, gate, calibration, config.seed), rows)
    free = _free(rows, task, calibration)
    if len(free) < min(len(rows.texts), FEWEST_ROWS):
        raise _too_few(len(free), f"{path}")
    if len(free) < 2 * FEWEST_ROWS:
        return GradedRows(task, rows.pick(free), rows.pick(free))
    shuffled = np.random.default_rng(config.seed).permutation(free)
    half = len(free) // 2
    searched, judged = (
        replace(rows.pick(np.sort(part)), split=replace(rows.split, name=f"{name} half"))
        for name, part in (("first", shuffled[:half][: gate.rows]), ("second", shuffled[half:]))
    )
    return GradedRows(task, searched, judged)


def make_evaluators(
    model: OnnxModel,
    rows: GradedRows,
    gate: GateConfig,
    config: OptimizeConfig,
    track: Track = silent,
    *,
    given: str | Path | None = None,
) -> tuple[Evaluator, Evaluator]:
    """Ask ``model``, or the one that was ``given`` with all of its vocabulary, about both kinds of ``rows``.

    Raises as `Evaluator.of` does, and ModelError if nothing could drop.
    """
    if given is not None:
        refuse_tokenizer(gate.tokenizer)
    predictor = _predictor(model, rows, gate, config)
    whole = model if given is None else load_model(find_repository(given).model_path)
    asked = predictor if given is None else _predictor(whole, rows, gate, config)
    final = Evaluator.of(predictor, rows.final, whole.path, track, asked=asked)
    final.sanity.require(str(whole.path), rows.task.labels)
    if rows.selection is rows.final:
        return final, final
    return Evaluator.of(predictor, rows.selection, whole.path, track, asked=asked), final


def _predictor(model: OnnxModel, rows: GradedRows, gate: GateConfig, config: OptimizeConfig) -> Predictor:
    settings = read_settings(model.path, config.asked)
    encoder = encoder_of(model, settings, gate.tokenizer, max_tokens=gate.max_tokens or usual_length(rows.task))
    return Predictor(rows.task, settings, encoder, config.provider, gate.batch_size, config.seed)


def _not_calibrated_on(
    train: LabelledRows, task: Task, gate: GateConfig, calibration: CalibrationConfig | None, seed: int
) -> LabelledRows:
    """Draw rows of the train split none of whose texts calibration reads."""
    free = _free(train, task, calibration)
    if len(free) < FEWEST_ROWS:
        raise _too_few(len(free), f"the {train.split.name} split of {task.name}")
    return train.pick(np.random.default_rng(seed).permutation(free)[: gate.rows])


def _free(rows: LabelledRows, task: Task, calibration: CalibrationConfig | None) -> np.ndarray:
    """Return the numbers of the rows none of whose texts calibration reads."""
    read = {text for texts in (calibration_rows(calibration) if calibration else ()) for text in texts}
    texts_by_row = enumerate(_read_texts(rows, task))
    return np.array([number for number, texts in texts_by_row if read.isdisjoint(texts)], dtype=np.int64)


def _read_texts(rows: LabelledRows, task: Task) -> Iterator[Texts]:
    """Yield the texts of each row as calibration reads them."""
    for texts in rows.texts:
        yield (" ".join(texts),) if task.kind is Kind.ENTITIES else texts


def _too_few(rows: int, place: str) -> OptionError:
    return OptionError(
        f"{place} has {rows} rows that calibration does not read, and a point cannot be told on fewer than {FEWEST_ROWS}: lower "
        "`calibration_rows`, or give `data` more rows"
    )
