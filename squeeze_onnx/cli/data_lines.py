"""What the text of a run was read as, where somebody may have meant it otherwise."""

from pathlib import Path

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.data.tables import open_table


def calibration_line(config: CalibrationConfig) -> str | None:
    """Say which columns of a table are read; None for what has none. Raises as `open_table` does."""
    if not config.is_table:
        return None
    form = open_table(Path(config.source), config.named_columns)[0].without_label()
    return None if form.columns is None else form.described()
