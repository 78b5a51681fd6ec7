"""Squeezing from Python: whatever is wrong with what is given is a SqueezeError before anything takes its time."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from squeeze_onnx.compress import squeezing
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.held_back import Calibration
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.preparing import open_model, prepare
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io import model as io
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.report.result import Report
from squeeze_onnx.runtime.sessions import session_threads
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.given_names import called
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.workflows import optimize as stages
from squeeze_onnx.workflows import search
from squeeze_onnx.workflows.gate import GateConfig
from squeeze_onnx.workflows.interface.files import load_model
from squeeze_onnx.workflows.interface.given import (
    CalibrationLike,
    ModelLike,
    PathLike,
    PlanLike,
    SiteFilter,
    calibration_of,
    config_of,
    excluded_by,
    graph_of,
    model_file,
    path_of,
    plan_of,
    track_of,
    written,
)

C = TypeVar("C", bound=AnalyzeConfig)


def analyze(
    model: ModelLike,
    config: AnalyzeConfig | Mapping[str, Any] | None = None,
    track: Track = silent,
    *,
    site_filter: SiteFilter | None = None,
    **settings: Any,
) -> Report:
    """Hold the spectrum of every weight of a model against pure noise.

    model: a path, an onnx ModelProto, an onnx-ir Model, or what `load_model` returns.
    config: an AnalyzeConfig or a dict of its settings; each may be given by its name instead (``noise="bulk"``).
    track: is told how far it got.
    site_filter: a function of a site (`MatMulSite`); those for which it returns False are left out.

    Returns the content of ``analyze --json``. Raises ModelError for what is not a usable model or has no site, OptionError for
    a setting that is wrong.
    """
    chosen = config_of(AnalyzeConfig, config, settings)
    with model_file(model) as path:
        return Report(stages.analyze(path, _filtered(path, chosen, site_filter), track_of(track)))


# Over six parameters: callers give each by its name, and one place says of each what it takes.
def optimize(
    model: ModelLike,
    out: PathLike,
    config: OptimizeConfig | Mapping[str, Any] | None = None,
    *,
    calibration: CalibrationLike | None = None,
    plan: PlanLike | None = None,
    checkpoint: CheckpointConfig | PathLike | None = None,
    cache: PathLike | None = None,
    site_filter: SiteFilter | None = None,
    force: bool = False,
    track: Track = silent,
    **settings: Any,
) -> Report:
    """Squeeze a model into the folder ``out``, which appears whole or not at all.

    model: a path, an onnx ModelProto, an onnx-ir Model, or what `load_model` returns.
    out: the folder to write.
    config: an OptimizeConfig or a dict of its settings; each may be given by its name instead (``keep=0.5``).
    calibration: text without labels. A file, ``glue:TASK`` in a CalibrationConfig with its ``data``, a list of texts or of pairs,
        inputs by name (one dict of arrays a batch), or a CalibrationConfig.
    plan: a Plan, or the path of a plan.json, to carry out again.
    checkpoint: a CheckpointConfig or the file in which distillation keeps its state.
    cache: a folder in which what is learned of the model is kept, for other budgets.
    site_filter: a function of a site (`MatMulSite`); those for which it returns False stay as they are.
    force: whether ``out`` is replaced if it exists.
    track: is told how far it got.

    Returns the content of report.json. Raises ModelError, DataError, OptionError or OutputError, and LastLookError if the result
    answers far from what was predicted.
    """
    chosen, made = config_of(OptimizeConfig, config, settings), plan_of(plan)
    _refuse_both(made, site_filter)
    text, kept = calibration_of(calibration), None if cache is None else path_of(cache, "cache")
    target, state = path_of(out, "out"), _checkpoint(checkpoint)
    with model_file(model) as path:
        chosen = _filtered(path, chosen, site_filter)
        report = stages.optimize(
            path,
            target,
            chosen,
            calibration=text,
            plan=made,
            checkpoint=state,
            cache=kept,
            force=force,
            track=track_of(track),
        )
        return Report(report)


# Over six parameters: those of `optimize`, and the gate.
def optimize_within(
    model: ModelLike,
    out: PathLike,
    gate: GateConfig | Mapping[str, Any],
    config: OptimizeConfig | Mapping[str, Any] | None = None,
    *,
    calibration: CalibrationLike | None = None,
    cache: PathLike | None = None,
    site_filter: SiteFilter | None = None,
    force: bool = False,
    track: Track = silent,
) -> Report:
    """Squeeze a model as far as ``gate`` allows: the smallest whose metric drops by at most so many points.

    gate: a GateConfig, or a dict of its settings.
    The others are those of `optimize`.

    Returns the content of report.json, with all that was tried under ``search``. Raises GateError if no smaller model passes, and
    what `optimize` raises.
    """
    settings, allowed = config_of(OptimizeConfig, config), config_of(GateConfig, gate, name="gate")
    text, kept = calibration_of(calibration), None if cache is None else path_of(cache, "cache")
    target = path_of(out, "out")
    with model_file(model) as path:
        settings = _filtered(path, settings, site_filter)
        report = search.optimize_within(
            path, target, allowed, settings, calibration=text, cache=kept, force=force, track=track_of(track)
        )
        return Report(report)


# Over six parameters: those of `optimize`, without what is about files.
def squeeze(
    model: ModelLike,
    config: OptimizeConfig | Mapping[str, Any] | None = None,
    calibration: CalibrationLike | None = None,
    *,
    plan: PlanLike | None = None,
    checkpoint: CheckpointConfig | PathLike | None = None,
    site_filter: SiteFilter | None = None,
    track: Track = silent,
    **settings: Any,
) -> SqueezeResult:
    """Squeeze a model in memory; the graph of an onnx-ir Model, or of what `load_model` returns, changes in place.

    >>> import squeeze_onnx as so
    >>> result = so.squeeze("bert/", so.OptimizeConfig(keep=0.5), "sentences.txt")  # doctest: +SKIP
    >>> so.save_model(result.model, "small.onnx")  # doctest: +SKIP

    calibration: text as `optimize` takes it, or the batches that `load_calibration` returns.
    The others are those of `optimize`. Fusion and precision are carried out too.

    Raises ModelError if no site is eligible, OptionError if the plan does not fit the model or the method lacks data,
    LastLookError if the result answers far from what was predicted.
    """
    chosen, made, state = config_of(OptimizeConfig, config, settings), plan_of(plan), _checkpoint(checkpoint)
    _refuse_both(made, site_filter)
    if chosen.keep_vocabulary:
        raise OptionError(
            "`keep_vocabulary` rewrites the tokenizer beside a model, which squeeze does not write: use optimize"
        )
    with ExitStack() as stack:
        stack.enter_context(session_threads(chosen.threads))
        if isinstance(model, OnnxModel):
            loaded = model
        elif isinstance(model, str | os.PathLike):
            loaded = load_model(model)
        else:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="squeeze-onnx-")))
            stack.enter_context(called(io.IN_MEMORY, folder))
            graph = graph_of(model)
            io.load_model(written(graph, folder))  # refuses what is not well-formed
            graph.graph.sort()
            loaded = OnnxModel(folder / "model.onnx", graph)
        prepared = OnnxModel(loaded.path, loaded.ir.clone())
        prepare(prepared.ir, chosen)
        if site_filter is not None:
            out = excluded_by(site_filter, find_sites(prepared.ir).sites)
            chosen = replace(chosen, exclude=(*chosen.exclude, *out))
        batches = _batches(Context(prepared, chosen, plan=made), calibration)
        return squeezing.squeeze(loaded, chosen, batches, plan=made, checkpoint=state, track=track_of(track))


def _filtered(path: Path, config: C, site_filter: SiteFilter | None) -> C:
    """Return ``config`` without the sites that a filter leaves out of the model at ``path``."""
    if site_filter is None:
        return config
    out = excluded_by(site_filter, find_sites(open_model(path, config).ir).sites)
    return replace(config, exclude=(*config.exclude, *out))


def _refuse_both(plan: Plan | None, site_filter: SiteFilter | None) -> None:
    if plan is not None and site_filter is not None:
        raise OptionError("plan already says what becomes of each site; leave out site_filter")


def _checkpoint(given: CheckpointConfig | PathLike | None) -> CheckpointConfig | None:
    return (
        given
        if given is None or isinstance(given, CheckpointConfig)
        else CheckpointConfig(path_of(given, "checkpoint"))
    )


def _batches(context: Context, given: object) -> Sequence[CalibrationBatch]:
    """Return batches as they are given, or those of the text that is."""
    if given is None or isinstance(given, Calibration):
        return given or ()
    text = calibration_of(given)  # type: ignore[arg-type]
    assert text is not None, "it is not None"
    return context.with_text(text).batches
