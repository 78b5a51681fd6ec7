"""JSON files beside a model, read with errors that name the file."""

import json
from pathlib import Path
from typing import Any

from squeeze_onnx.support.errors import InputError, ModelError
from squeeze_onnx.support.git_lfs import refuse_pointer


def read_json(path: Path, error: type[InputError] = ModelError) -> Any:
    """Read a JSON file, with or without a byte order mark; raises ``error`` if it is none, or cannot be read."""
    refuse_pointer(path, error)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as reason:
        raise error(f"{path} is not a readable JSON file: {reason}") from reason


def read_json_object(path: Path, error: type[InputError] = ModelError) -> dict[str, Any]:
    """Read a JSON object; raises ``error`` if the file holds anything else."""
    values = read_json(path, error)
    if not isinstance(values, dict):
        raise error(f"{path} is not a JSON object")
    return values
