"""The last stage before the model is written: fused operators, then the precision of its weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.precision import PRECISIONS, Evidence, Precision
from squeeze_onnx.compress.precision.measured import lower_measured
from squeeze_onnx.compress.preparing import open_model
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.fused.fusion import FusionCounts, fuse_squeezed
from squeeze_onnx.graph.io.model import OnnxModel, serialized_size
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.stopwatch import Stopwatch


@dataclass(frozen=True)
class Finished:
    """The model as it is written, the plan with the precision of all weights, and what the report says of both steps."""

    model: OnnxModel
    plan: Plan
    fused: FusionCounts | None
    precision: dict[str, Any]


def finish(
    model: OnnxModel,
    plan: Plan,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch],
    *,
    clock: Stopwatch,
    track: Track = silent,
) -> Finished:
    """Fuse and lower the squeezed ``model``, whose graph changes in place; ``clock`` is told how long each step takes.

    The precision is that of ``config``, or else that of ``plan``, with what it keeps in a higher one.
    """
    planned = planned_precision(plan, config)
    precision = _class_of(planned)()
    fused = None
    if config.fuse is not None:
        with clock.stage("fuse"):
            fused = fuse_squeezed(
                model.ir, open_model(model.path, config).ir, config.fuse, weights_apart=precision.weights_apart
            )
    before = serialized_size(model.ir)
    with clock.stage("precision"):
        decomposer = config.decomposing.decomposer()
        evidence = Evidence(calibration, planned.kept, config.provider, track, decomposer)
        lowered = lower_measured(precision, model.ir, evidence)
    plan = replace(plan, precision=PlannedPrecision(planned.name, tuple(site.name for site in lowered.kept)))
    size = {"before": before, "after": serialized_size(lowered.model)}
    report = {"name": planned.name, "bytes": size, **lowered.to_json()}
    return Finished(OnnxModel(model.path, lowered.model), plan, fused, report)


def planned_precision(plan: Plan | None, config: OptimizeConfig) -> PlannedPrecision:
    """Return the precision that ``config`` asks for, or else that of ``plan``; what a plan keeps holds for its own only."""
    planned = plan.precision if plan is not None else PlannedPrecision()
    return planned if config.precision in (None, planned.name) else PlannedPrecision(str(config.precision))


def _class_of(planned: PlannedPrecision) -> type[Precision]:
    if planned.name not in PRECISIONS:
        raise OptionError(f"the plan's precision {planned.name!r} is unknown; known are {', '.join(PRECISIONS)}")
    return PRECISIONS[planned.name]
