"""The last stage before the model is written: fused operators, then the precision of its weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import onnx_ir as ir

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.precision import (
    EIGHT_BITS,
    EVERYWHERE,
    EXACT_ON,
    PRECISIONS,
    Encoded,
    Evidence,
    Lowered,
    Precision,
    TargetCpu,
    target_of,
)
from squeeze_onnx.compress.precision.measured import lower_measured
from squeeze_onnx.evaluate.last_look import StepObserver, unwatched
from squeeze_onnx.graph.fused.fusion import FusionCounts, fuse_squeezed
from squeeze_onnx.graph.io.model import OnnxModel, serialized_size
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.quantized.saturation import saturating_products
from squeeze_onnx.graph.rewrite.half_types import half_type_of, store_in_half, widen
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.processor import int8_products_saturate
from squeeze_onnx.support.stopwatch import Stopwatch

_WIDENED = "The model computed in {}: around its integers it computes in float32 now, which is what processors have kernels for."

NOTHING_ENCODED: Mapping[str, Encoded] = MappingProxyType({})
"""What a model that did not learn rounded brings along."""


@dataclass(frozen=True)
class Finished:
    """The model as it is written, the plan with the precision of all weights, and what the report says of both steps."""

    model: OnnxModel
    plan: Plan
    fused: FusionCounts | None
    precision: dict[str, Any]


def finish(
    context: Context,
    model: OnnxModel,
    plan: Plan,
    *,
    clock: Stopwatch,
    observer: StepObserver = unwatched,
    encoded: Mapping[str, Encoded] = NOTHING_ENCODED,
) -> Finished:
    """Fuse and lower the squeezed ``model``, whose graph changes in place; ``clock`` is told how long each step takes.

    The ``observer`` sees it fused. The precision is the one that is asked for, or else that of ``plan``, with what it keeps in a
    higher one; ``encoded`` are weights that learned to be stored as they are.
    """
    config = context.config
    planned = planned_precision(plan, config)
    precision, target = precision_of(planned), target_of(planned.target_cpu)
    fused = None
    if config.fuse is not None:
        with clock.stage("fuse"):
            fused = fuse_squeezed(
                model.ir, context.dense.ir.clone(), config.fuse, weights_apart=precision.weights_apart
            )
        observer("fusing", model.ir)
    before = serialized_size(model.ir)
    with clock.stage("precision"):
        lowered = _lower(precision, model, replace(evidence_for(context, planned), encoded=encoded))
    plan = replace(plan, precision=replace(planned, kept=tuple(site.name for site in lowered.kept)))
    size = {"before": before, "after": serialized_size(lowered.model)}
    processors = _processors(target, lowered.model) if precision.rounds_rows else None
    report = {"name": planned.name, "bytes": size, **lowered.to_json(), "processors": processors}
    return Finished(OnnxModel(model.path, lowered.model), plan, fused, report)


def evidence_for(context: Context, planned: PlannedPrecision) -> Evidence:
    """Return what choices within the ``planned`` precision go by."""
    config, calibration = context.config, context.batches
    return Evidence(
        calibration,
        planned.kept,
        config.provider,
        context.track,
        config.decomposing.decomposer(),
        target_of(planned.target_cpu),
        context.known_head if calibration else None,
        spare=context.spare,
    )


def _lower(precision: Precision, model: OnnxModel, evidence: Evidence) -> Lowered:
    """Lower ``model``; one of half types computes in float32 around the integers, and stores as before what stays float.

    Raises OptionError if there is no weight to round, and if every one would move the outputs too far.
    """
    half = half_type_of(model.ir)
    if not precision.rounds_rows:
        return lower_measured(precision, model.ir, evidence)
    if half is not None:
        widen(model.ir)
    lowered = lower_measured(precision, model.ir, evidence)
    if not lowered.lowered and not any(site.reason.startswith(EIGHT_BITS) for site in lowered.kept):
        raise OptionError(_why_nothing_is_rounded(precision.name, model, lowered))
    if half is None:
        return lowered
    store_in_half(lowered.model, half)
    return replace(lowered, notes=(*lowered.notes, _WIDENED.format(half.name.lower())))


def _why_nothing_is_rounded(name: str, model: OnnxModel, lowered: Lowered) -> str:
    if lowered.kept:
        return (
            f"`precision` {name} would round no weight of {model.path}: each of the {len(lowered.kept)} stays as it is, "
            f"{lowered.kept[0].name} since {lowered.kept[0].reason}; use `precision` fp16"
        )
    skipped = find_sites(model.ir).skipped
    why = f"; {skipped[0].name}: {skipped[0].reason}" if skipped else ""
    return f"`precision` {name} finds no weight of a MatMul, Gemm or Gather to round in {model.path}{why}"


def planned_precision(plan: Plan | None, config: OptimizeConfig) -> PlannedPrecision:
    """Return the precision that ``config`` asks for, or else that of ``plan``; what a plan keeps holds for its own only.

    Raises OptionError for a precision or processors that are unknown, or processors that the precision does not depend on.
    """
    planned = plan.precision if plan is not None else PlannedPrecision()
    if config.precision not in (None, planned.name):
        planned = PlannedPrecision(str(config.precision), target_cpu=planned.target_cpu)
    target = target_of(config.target_cpu or planned.target_cpu)
    if config.target_cpu is not None and not _class_of(planned).rounds_rows:
        rounded = ", ".join(name for name, precision in PRECISIONS.items() if precision.rounds_rows)
        raise OptionError(
            f"`target_cpu` {config.target_cpu} is about products of integers, and {planned.name} has none; add `precision` "
            f"({rounded}), or leave it out"
        )
    return replace(planned, target_cpu=target.name)


def precision_of(planned: PlannedPrecision) -> Precision:
    """Return the precision that is ``planned``; raises OptionError for one that is unknown."""
    return _class_of(planned)()


def _class_of(planned: PlannedPrecision) -> type[Precision]:
    if planned.name not in PRECISIONS:
        raise OptionError(f"the plan's precision {planned.name!r} is unknown; known are {', '.join(PRECISIONS)}")
    return PRECISIONS[planned.name]


def _processors(target: TargetCpu, model: ir.Model) -> dict[str, Any]:
    """Return what was aimed at, where the integer products of ``model`` are right, and which of them are not elsewhere."""
    saturating = saturating_products(model)
    return {
        "target": target.name,
        "right_on": EXACT_ON if saturating else EVERYWHERE,
        "saturating": list(saturating),
        "saturates_here": bool(saturating) and int8_products_saturate(),
    }
