"""A recipe carried out: optimize → validate → gate → package, each by what the command of that name runs."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.data.hub import located
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.workflows.optimize import optimize
from squeeze_onnx.workflows.packaging.bundle import package
from squeeze_onnx.workflows.packaging.verification import Bundle
from squeeze_onnx.workflows.recipe import PackageStep, Recipe
from squeeze_onnx.workflows.search import optimize_within

FORMAT = "squeeze-onnx/run/1"


def run_recipe(recipe: Recipe, *, force: bool = False, offline: bool = False, track: Track = silent) -> dict[str, Any]:
    """Carry out ``recipe``; with ``force`` its output and bundle are replaced, ``offline`` fetches nothing from a hub.

    Returns plain values: ``optimization`` (report.json), ``validation`` (as `validate --json`, None if not asked for),
    ``bundle`` and ``passed``. Where the gate of ``[validate]`` fails nothing is packaged; the output stays, to look at.

    Raises GateError if ``[search]`` finds no model, and what `optimize`, `validate` and `package` raise.
    """
    with reserved(recipe.places.output), located(recipe.places.model, offline=offline) as model:
        optimization = _optimize(recipe, model, force=force, track=track)
        validation = None
        if recipe.validate is not None:
            validation = validate(model, recipe.places.output, recipe.validate, track).to_json()
        passed = validation is None or validation["passed"]
        bundle = None
        if recipe.package is not None and passed:
            bundle = _package(recipe, recipe.package, validation, force=force)
    return {
        "format": FORMAT,
        "recipe": str(recipe.path),
        "output": str(recipe.places.output),
        "passed": passed,
        "optimization": optimization,
        "validation": validation,
        "bundle": None if bundle is None else bundle.to_json(),
    }


def _optimize(recipe: Recipe, model: Path, *, force: bool, track: Track) -> dict[str, Any]:
    places, config = recipe.places, recipe.optimize
    shared: dict[str, Any] = {
        "calibration": recipe.calibration,
        "cache": places.cache,
        "force": force,
        "track": track,
    }
    if recipe.search is not None:
        return optimize_within(model, places.output, recipe.search, config, **shared)
    state = CheckpointConfig(places.output.with_name(f"{places.output.name}.distillation.npz"))
    return optimize(
        model,
        places.output,
        config,
        plan=None if places.plan is None else read_plan(places.plan),
        checkpoint=None if config.distill is None else state,
        **shared,
    )


def _package(recipe: Recipe, step: PackageStep, validation: Mapping[str, Any] | None, *, force: bool) -> Bundle:
    """Package the output, with what this run measured of it."""
    assert step.output is not None, "checked by PackageStep"
    with TemporaryDirectory(prefix="squeeze-onnx-") as folder:
        measured = [recipe.places.output / "report.json"]
        if validation is not None:
            measured.append(Path(folder) / "validation.json")
            measured[-1].write_text(json.dumps(validation), encoding="utf-8")
        config = replace(step, measured=(*measured, *step.measured))
        return package(recipe.places.output, step.output, config, force=force)
