"""Own data on the command line: what it is read as, where somebody may have meant it otherwise, and what is calibrated on."""

from pathlib import Path

from squeeze_onnx.compress.calibration_source import TASK_PREFIX, CalibrationConfig
from squeeze_onnx.compress.text_amounts import TO_CALIBRATE
from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.retrieval import CORPUS, is_retrieval_folder
from squeeze_onnx.data.tables import open_table, read_texts
from squeeze_onnx.evaluate.own_data import LEARNED_ON, own_file
from squeeze_onnx.support.errors import OptionError


def calibration_line(config: CalibrationConfig) -> str | None:
    """Say which columns of a table are read; None for what has none. Raises as `open_table` does."""
    if not config.is_table:
        return None
    form = open_table(Path(config.source), config.named_columns)[0].without_label()
    return None if form.columns is None else form.described()


def own_text(data: str, columns: str | None, rows: int | None, *, gated: bool) -> tuple[str, int | None]:
    """Return what of own ``data`` is calibrated on, and how many rows of it: the train split, or else no more than half of them.

    Raises OptionError for a name that is no file or folder here.
    """
    path, named = Path(data), None if columns is None else Columns.parse(columns)
    if is_retrieval_folder(path):
        return str(path / CORPUS), rows
    source = own_file(path, LEARNED_ON) or own_file(path) if path.exists() else None
    if source is None:
        raise OptionError(
            f"--data {data} is no file or folder of own rows; name a task of GLUE with --task, or text with --calibration"
        )
    if gated and rows is None and (path.is_file() or own_file(path, LEARNED_ON) is None):
        rows = max(1, min(TO_CALIBRATE.rows, len(read_texts(source, named).texts) // 2))
    return str(source), rows


def columns_of_text(
    columns: str | None, calibration: str | None, data: str | None, *, task: str | None, gated: bool
) -> str | None:
    """Return those of ``columns`` that calibration reads; of rows beside a text of its own they are those that the gate reads.

    Raises OptionError for ``data`` that nothing is asked of.
    """
    if calibration is None or data is None or task is not None or calibration.startswith(TASK_PREFIX):
        return columns
    if not gated:
        raise OptionError(f"--data {data} is for --max-drop or --task where --calibration is given: leave one out")
    return None
