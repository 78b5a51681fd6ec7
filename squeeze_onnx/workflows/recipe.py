"""squeeze.toml: optimize, validate, gate and package in one file that can be reviewed.

Every table is one of the configs that the commands build of their options, under the same names:

    model = "bert-sst2"        # folder or .onnx file
    output = "small"           # folder to write
    [optimize]                 # OptimizeConfig
    [calibration]              # CalibrationConfig
    [search]                   # GateConfig: the smallest model that passes it, instead of keep in [optimize]
    [validate]                 # ValidateConfig; max_drop is the gate
    [package]                  # PackageConfig, and output: the bundle to write
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.compress.calibration_source import TASK_PREFIX, CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.evaluate.validation import ValidateConfig
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.typed_fields import build, object_schema
from squeeze_onnx.workflows.gate import GateConfig
from squeeze_onnx.workflows.packaging.bundle import PackageConfig


@dataclass(frozen=True)
class Places:
    """The keys above all tables: what is read and written."""

    model: Path
    output: Path
    plan: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class PackageStep(PackageConfig):
    """How to package, and where to."""

    output: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is None:
            raise OptionError("output must be given: the bundle to write")


TABLES: Mapping[str, type] = {
    "optimize": OptimizeConfig,
    "calibration": CalibrationConfig,
    "search": GateConfig,
    "validate": ValidateConfig,
    "package": PackageStep,
}
"""Name of a table → the config it is."""


@dataclass(frozen=True)
class Recipe:
    """What a squeeze.toml asks for; a step whose table is absent is left out, but optimize is always done."""

    path: Path
    places: Places
    optimize: OptimizeConfig
    calibration: CalibrationConfig | None
    search: GateConfig | None
    validate: ValidateConfig | None
    package: PackageStep | None


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe; its paths are relative to the folder it lies in.

    Raises OptionError, which names file, table and key, for what cannot be read and for what the configs do not know.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error.strerror}): name a recipe such as squeeze.toml") from error
    except ValueError as error:
        raise OptionError(f"{path} is not TOML: {error}") from error
    tables = {name: document.pop(name) for name in TABLES if name in document}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise OptionError(f"{path}: {name} is a table, [{name}]; got {table!r}")
    for name, value in document.items():
        if isinstance(value, dict):
            raise OptionError(f"{path}: unknown table [{name}]; known tables are {', '.join(TABLES)}")
    if "calibration" in tables:
        tables["calibration"] = _with_source(tables["calibration"], path.parent)
    built: dict[str, Any] = {
        name: build(TABLES[name], table, f"{path} [{name}]", path.parent) for name, table in tables.items()
    }
    places = build(Places, document, str(path), path.parent)
    if places.plan is not None and ("search" in built or ("optimize" in built and "keep" in tables["optimize"])):
        raise OptionError(f"{path}: plan already says what becomes of each site; leave out keep and [search]")
    if places.plan is not None and places.cache is not None:
        raise OptionError(f"{path}: cache keeps what a new plan is made from; leave it out with plan")
    return Recipe(
        path,
        places,
        built.get("optimize", OptimizeConfig()),
        *(built.get(name) for name in ("calibration", "search", "validate", "package")),
    )


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of squeeze.toml, from the configs themselves."""
    places = object_schema(Places)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "squeeze.toml: a recipe for `squeeze-onnx run`",
        **places,
        "properties": {**places["properties"], **{name: object_schema(kind) for name, kind in TABLES.items()}},
        "required": ["model", "output"],
    }


def _with_source(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A source is a file unless it names a task."""
    source = table.get("source")
    if not isinstance(source, str) or source.startswith(TASK_PREFIX):
        return table
    return {**table, "source": str(folder / source)}
