"""squeeze.toml: optimize, validate, gate and package in one file that can be reviewed.

Every table is one of the configs that the commands build of their options, under their names or those of the options:

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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from squeeze_onnx.compress.calibration_source import NAMED_SOURCES, CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.hub import is_hub_name
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import field_of
from squeeze_onnx.support.suggestions import did_you_mean
from squeeze_onnx.support.typed_fields import Place, build, object_schema
from squeeze_onnx.workflows.gate import GateConfig
from squeeze_onnx.workflows.packaging.bundle import PackageConfig
from squeeze_onnx.workflows.recipe_lines import line_of


@dataclass(frozen=True)
class Places:
    """The keys above all tables: what is read and written.

    model: a folder or .onnx file, or hf://org/name[@revision], which is fetched.
    output: the folder to write.
    plan: a plan.json to carry out again, instead of a budget.
    cache: a folder that keeps what is learned of the model, for other budgets.
    """

    model: Path | str
    output: Path
    plan: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class PackageStep(PackageConfig):
    """How to package, and where to.

    output: the bundle to write: a folder, or an archive if it ends in .zip.
    """

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

    Raises OptionError, which names file, line, table and key, for what cannot be read and for what the configs do not know.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error.strerror}): name a recipe such as squeeze.toml") from error
    except ValueError as error:
        raise OptionError(f"{path} is not TOML: {error}") from error
    places = {name: partial(_place, path, text, name) for name in ("", *TABLES)}
    tables = {name: document.pop(name) for name in TABLES if name in document}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise OptionError(f"{places['']('')}: {name} is a table, [{name}]; got {table!r}")
    for name, value in document.items():
        if isinstance(value, dict):
            near = did_you_mean(name, TABLES) or f"; known tables are {', '.join(TABLES)}"
            raise OptionError(f"{_place(path, text, name)}: unknown table [{name}]{near}")
    for name, table in (("", document), *tables.items()):
        _refuse_misplaced(name, table, places[name])
    if "optimize" in tables:
        tables["optimize"] = _with_kept_words(tables["optimize"], path.parent)
    if "calibration" in tables:
        tables["calibration"] = _with_source(tables["calibration"], path.parent)
    built: dict[str, Any] = {
        name: build(TABLES[name], table, places[name], path.parent) for name, table in tables.items()
    }
    read = build(Places, document, places[""], path.parent)
    if not is_hub_name(read.model):
        read = replace(read, model=path.parent / read.model)
    if read.plan is not None and ("search" in built or ("optimize" in built and "keep" in tables["optimize"])):
        raise OptionError(
            f"{places['']('plan')}: plan already says what becomes of each site; leave out keep and [search]"
        )
    if read.plan is not None and read.cache is not None:
        raise OptionError(f"{places['']('cache')}: cache keeps what a new plan is made from; leave it out with plan")
    return Recipe(
        path,
        read,
        built.get("optimize", OptimizeConfig()),
        *(built.get(name) for name in ("calibration", "search", "validate", "package")),
    )


def _place(path: Path, text: str, table: str, key: str = "") -> str:
    """Say where a key stands, or its table if ``key`` is empty or stands nowhere."""
    number = line_of(text, table, key)
    return f"{path}{'' if number is None else f' line {number}'}{f' [{table}]' if table else ''}"


def _refuse_misplaced(name: str, table: Mapping[str, Any], place: Place) -> None:
    """Raise OptionError for a key that belongs in another table."""
    kinds = {"": Places, **TABLES}
    for key in table:
        if field_of(key, get_type_hints(kinds[name])) is not None:
            continue
        homes = [f"[{other}]" for other, kind in TABLES.items() if field_of(key, get_type_hints(kind)) is not None]
        if field_of(key, get_type_hints(Places)) is not None:
            homes = ["the keys above all tables"]
        if homes:
            raise OptionError(f"{place(key)}: unknown key {key!r}; it belongs in {' or '.join(homes)}")


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
    """A source is a file unless it names a task or the general text."""
    return {
        key: str(folder / value)
        if field_of(key, ("source",)) and isinstance(value, str) and not value.startswith(NAMED_SOURCES)
        else value
        for key, value in table.items()
    }


def _with_kept_words(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Texts whose tokens stay are files if there are such files."""
    return {
        key: [str(folder / each) if isinstance(each, str) and (folder / each).is_file() else each for each in value]
        if field_of(key, ("keep_vocabulary",)) and isinstance(value, list)
        else value
        for key, value in table.items()
    }
