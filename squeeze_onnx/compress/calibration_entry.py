"""What reports say of the text that calibration read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from squeeze_onnx.compress.calibration_source import CalibrationConfig, GivenFeeds, GivenTexts, is_archive
from squeeze_onnx.compress.held_back import held_back_of, needed_of, rows_of
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.general_text import GENERAL_PREFIX
from squeeze_onnx.data.tables import open_table


def calibration_entry(
    config: CalibrationConfig, read: Sequence[CalibrationBatch], weighed: Sequence[CalibrationBatch]
) -> dict[str, Any]:
    """Return what reports say of the text that was ``read``: from where, as what, how much; raises as `open_table` does.

    ``weighed`` is the part of it that moments were estimated on.
    """
    rows = {
        "rows": rows_of(read),
        "rows_weighed": rows_of(weighed),
        "tokens_needed": needed_of(read),
        "held_back": rows_of(held_back_of(read)),
        "seed": config.seed,
    }
    return {**_read_as(config), **rows}


def _read_as(config: CalibrationConfig) -> dict[str, Any]:
    if config.is_table:
        return open_table(Path(config.source), config.named_columns)[0].without_label().to_json()
    if isinstance(config, GivenTexts | GivenFeeds):
        return {"source": config.source, "read_as": config.read_as, "columns": None, "columns_guessed": False}
    read_as = "model inputs" if is_archive(config) else f"train split in {config.data}"
    if config.source.startswith(GENERAL_PREFIX):
        read_as = "sentences of this package"
    return {"source": config.source, "read_as": read_as, "columns": None, "columns_guessed": False}
