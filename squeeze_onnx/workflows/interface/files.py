"""Models, text, plans and bundles from Python: reading and writing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from squeeze_onnx.compress import calibration_source
from squeeze_onnx.compress.held_back import Calibration
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.data.hub import is_hub_name
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.graph.io import model as io
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.interface.given import (
    CalibrationLike,
    PathLike,
    calibration_of,
    config_of,
    graph_of,
    model_file,
    path_of,
    plan_of,
)
from squeeze_onnx.workflows.packaging import bundle, verification
from squeeze_onnx.workflows.packaging.bundle import PackageConfig
from squeeze_onnx.workflows.packaging.verification import Bundle


def load_model(path: PathLike) -> OnnxModel:
    """Load the model at ``path``, an .onnx file or a folder in one of the layouts that repositories have.

    Raises ModelError for what is not a whole, well-formed ONNX model, OptionError for what is no path.
    """
    with model_file(path_of(path, "model") if not is_hub_name(path) else path) as found:
        return io.load_model(find_repository(found).model_path)


def save_model(model: OnnxModel | ir.Model, path: PathLike, *, external_data: bool = False) -> tuple[Path, ...]:
    """Write a model to ``path``: an onnx-ir Model, or what `load_model` and `squeeze` have as ``model``.

    With ``external_data``, or above 2 GB, its weights go into ``<path>.data``. Returns the files written. Raises OutputError.
    """
    return io.save_model(graph_of(model), path_of(path, "path"), external_data=external_data)


def load_calibration(
    model: OnnxModel | PathLike, config: CalibrationLike | Mapping[str, Any], **options: Any
) -> Calibration:
    """Read text for a model and make batches of it, shortest first; some are held back to measure on.

    model: what `load_model` returns, or a path.
    config: a CalibrationConfig, or whatever `optimize` takes as calibration.
    options: see `squeeze_onnx.compress.calibration_source.load_calibration`.

    Raises DataError for text that cannot be read, TokenizerError if the model has no tokenizer for it.
    """
    loaded = model if isinstance(model, OnnxModel) else load_model(model)
    text = calibration_of(config)
    if text is None:
        raise OptionError("calibration is None: give a file, a list of texts, or a CalibrationConfig")
    return calibration_source.load_calibration(loaded, text, **options)


def read_plan(path: PathLike) -> Plan:
    """Read a plan.json, or that of a folder that `optimize` wrote; raises OptionError, which names the entry at fault."""
    plan = plan_of(path_of(path, "plan"))
    assert plan is not None, "a path is given"
    return plan


def package(
    model: PathLike, out: PathLike, config: PackageConfig | Mapping[str, Any] | None = None, *, force: bool = False
) -> Bundle:
    """Write the model at a path with all it needs to ``out``: an archive if that ends in .zip, else a folder.

    config: a PackageConfig, or a dict of its settings.

    Raises a SqueezeError for what is wrong with model, tokenizer, options or output.
    """
    settings = config_of(PackageConfig, config)
    place = path_of(out, "out")
    with model_file(model if is_hub_name(model) else path_of(model, "model")) as path:
        return bundle.package(path, place, settings, force=force)


def verify(path: PathLike, *, sha256: str | None = None, into: PathLike | None = None, force: bool = False) -> Bundle:
    """Check every file of a bundle against its manifest, and run its model once; see the command of that name.

    Raises BundleError for what is missing, cut off or tampered with, ModelError if the model does not run.
    """
    target = None if into is None else path_of(into, "into")
    return verification.verify(path_of(path, "bundle"), sha256=sha256, into=target, force=force)
