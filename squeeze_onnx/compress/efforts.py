"""Efforts: how much text is read and how long is learned for a goal, and which precisions are tried."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from squeeze_onnx.compress.calibration_source import CalibrationConfig, GivenFeeds
from squeeze_onnx.compress.config import Effort, OptimizeConfig
from squeeze_onnx.graph.match.roles import Role


@dataclass(frozen=True)
class EffortLevel:
    """What an effort stands for.

    rows: sentences or pairs that are read; None for as many as learning wants.
    distill: steps of distillation; None for none.
    precisions: those that a size is looked for in, where the provider runs them and none is asked for.
    """

    rows: int | None
    distill: int | Literal["auto"] | None
    precisions: tuple[str, ...]


_FLOATS = ("fp32", "fp16")

EFFORTS: dict[Effort, EffortLevel] = {
    "quick": EffortLevel(256, None, (*_FLOATS, "int8", "int8-int4")),
    "balanced": EffortLevel(2048, 200, (*_FLOATS, "int8", "int8-int4", "int4")),
    "best": EffortLevel(None, "auto", (*_FLOATS, "int8", "int8-int4", "int4")),
}
"""Of a model of 20 to 100 million parameters on a few cores: minutes, tens of minutes, an hour or more."""

UNASKED = (str(Role.EMBEDDING),)
"""What is taken in for a goal of size if nobody says what: tables are a large part of a file, where there are any."""

SLOW_ON = {"cpu": ("fp16",)}
"""Precisions that a provider runs, but slower than it runs float32."""


def effort_of(config: OptimizeConfig) -> Effort | None:
    """Return the effort that is asked for, or that a goal means; None if nothing is to be chosen."""
    return config.effort or ("balanced" if config.byte_limit is not None else None)


def with_effort(
    config: OptimizeConfig, calibration: CalibrationConfig | None, *, gated: bool = False
) -> tuple[OptimizeConfig, CalibrationConfig | None]:
    """Return both with what the effort chooses of all that was left open; the precision for a size is chosen later.

    Models that are ``gated`` are many: none of them is distilled.
    """
    effort = effort_of(config)
    if effort is None:
        return config, calibration
    level, chosen = EFFORTS[effort], dict[str, Any](effort=effort)
    if config.distill is None and calibration is not None and not gated:
        chosen["distill"] = level.distill
    if config.byte_limit is not None and not config.include:
        chosen["include"] = UNASKED
    if config.byte_limit is None and config.precision is None:
        chosen["precision"] = "int8" if config.provider == "cpu" else "fp16"
    if config.objective == "latency" and config.fuse is None:
        chosen["fuse"] = config.provider
    if calibration is not None and calibration.rows is None and not isinstance(calibration, GivenFeeds):
        calibration = replace(calibration, rows=level.rows)
    return replace(config, **chosen), calibration
