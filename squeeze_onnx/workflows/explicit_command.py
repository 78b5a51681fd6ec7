"""What a run came to as the command that says all of it."""

import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.size_goal import SizeGoal
from squeeze_onnx.support.given_names import given_name
from squeeze_onnx.support.readable import written_bytes
from squeeze_onnx.workflows.gate import GateConfig

_OF_TEXT = {"source": "calibration", "data": "data", "rows": "calibration_rows", "max_tokens": "max_length"}
_ALSO_OF_TEXT = {"tokenizer": "tokenizer", "columns": "columns"}


def explicit_command(
    model: Path, out: Path, config: OptimizeConfig, calibration: CalibrationConfig | None, gate: GateConfig | None
) -> str:
    """Return the `optimize` that does the same and leaves nothing open that was chosen."""
    words = ["squeeze-onnx", "optimize", given_name(model) or str(model), "-o", str(out)]
    if gate is not None:
        words += [_flag("max_drop"), f"{gate.max_drop:g}"]
        words += [_flag("task"), gate.task] if gate.task is not None else []
    words += _settings(config)
    if calibration is not None:
        for field, option in (_OF_TEXT | _ALSO_OF_TEXT).items():
            value = getattr(calibration, field)
            words += [] if value is None else [_flag(option), str(value)]
    if gate is not None and calibration is None:
        words += [_flag("data"), str(gate.data)]
    return shlex.join(words)


def _settings(config: OptimizeConfig) -> Iterator[str]:
    usual = OptimizeConfig()
    for field in fields(config):
        value = getattr(config, field.name)
        if value == getattr(usual, field.name) or (field.name == "effort" and config.byte_limit is None):
            continue  # a size without an effort would mean the usual one
        if isinstance(value, bool):
            yield _flag(field.name) if value else _flag(f"no_{field.name}")
        elif field.name == "floor":
            for role, share in value.items():
                yield from (_flag(field.name), f"{role}={share}")
        elif isinstance(value, tuple):
            for word in value:
                yield from (_flag(field.name), word)
        else:
            yield from (_flag(field.name), _written(field.name, value))


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _written(field: str, value: Any) -> str:
    return written_bytes(value) if field == "max_size" else str(value)


def goal_entry(
    context: Context,
    calibration: CalibrationConfig | None,
    places: tuple[Path, Path],
    goal: SizeGoal | None,
    gate: GateConfig | None = None,
) -> dict[str, Any] | None:
    """Return what the report says of a goal: what was chosen for it, and the command that says all of it; None without one."""
    effort = context.config.effort
    if effort is None:
        return None
    command = explicit_command(*places, context.config, calibration, gate)
    return {"effort": effort, "command": command, "size": None if goal is None else goal.to_json()}
