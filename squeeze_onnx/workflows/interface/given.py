"""What a caller in Python may give for a model, text, a plan or a config, made what the stages take.

A model is a path, an onnx ``ModelProto``, an onnx-ir ``Model`` or an `OnnxModel`; text is a path, ``glue:TASK``, a list of texts
or of pairs, an iterable of inputs by name, or a CalibrationConfig; a config may be a dict, a plan the path of a plan.json.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, TypeVar

import numpy as np
import onnx
import onnx_ir as ir

from squeeze_onnx.compress.calibration_source import TASK_PREFIX, CalibrationConfig, GivenFeeds, GivenTexts
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.hub import is_hub_name, located
from squeeze_onnx.data.positions import mask_of_tokens
from squeeze_onnx.data.repository import repository_of
from squeeze_onnx.graph.io.locate import MODEL_FILE
from squeeze_onnx.graph.io.model import IN_MEMORY, OnnxModel, save_model
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.support.errors import DataError, ModelError, OptionError
from squeeze_onnx.support.field_names import field_of
from squeeze_onnx.support.given_names import called
from squeeze_onnx.support.parts import spread
from squeeze_onnx.support.progress import Track
from squeeze_onnx.workflows.gate import GateConfig

PathLike: TypeAlias = str | os.PathLike[str]
ModelLike: TypeAlias = PathLike | onnx.ModelProto | ir.Model | OnnxModel
Feeds: TypeAlias = Mapping[str, np.ndarray]
CalibrationLike: TypeAlias = (
    CalibrationConfig | PathLike | Sequence[str | tuple[str, str]] | Iterable[Feeds] | Iterable[CalibrationBatch]
)
PlanLike: TypeAlias = Plan | PathLike
SiteFilter: TypeAlias = Callable[[MatMulSite], bool]
"""Says of a site whether it may be squeezed."""

C = TypeVar("C")

_MODELS = "a path, an onnx ModelProto, an onnx-ir Model, or what load_model returns"
_TEXTS = "a file, glue:TASK, a list of texts, inputs by name, or a CalibrationConfig"


def config_of(
    kind: type[C], given: C | Mapping[str, Any] | None, settings: Mapping[str, Any] | None = None, name: str = "config"
) -> C:
    """Return ``given`` as a ``kind``, which a dict is made into, with ``settings`` in place of its own; the default for None.

    Raises OptionError for anything else, and for what ``kind`` refuses.
    """
    settings = dict(spread(kind, settings or {}))
    if isinstance(given, kind):
        given = {field: getattr(given, field) for field in field_names(kind)} if settings else given
    if isinstance(given, kind):
        return given
    if given is not None and not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
        raise OptionError(f"{name} is {_a(kind.__name__)} or a dict of its settings; got {_told(given)}")
    _refuse_foreign(kind, settings)
    return kind(**{**dict(spread(kind, given or {})), **settings})


def _refuse_foreign(kind: type, settings: Mapping[str, Any]) -> None:
    """Raise OptionError for a setting that ``kind`` does not have, but another config does."""
    for written in settings:
        others = [each for each in (CalibrationConfig, GateConfig) if field_of(written, field_names(each))]
        if others and field_of(written, field_names(kind)) is None:
            raise OptionError(f"{written} is no setting of {kind.__name__}: give it in {_a(others[0].__name__)}")


def field_names(kind: type) -> list[str]:
    """Return the names of the fields of a dataclass."""
    return [field.name for field in fields(kind)]


def path_of(given: object, name: str) -> Path:
    """Return ``given`` as a path; raises OptionError, which calls it ``name``, if it is none."""
    if isinstance(given, str | os.PathLike) and isinstance(os.fspath(given), str) and os.fspath(given):
        return Path(given)
    raise OptionError(f"{name} is a path; got {_told(given)}")


def plan_of(given: PlanLike | None) -> Plan | None:
    """Return a plan as it is, or read its file; raises as `read_plan` does, and OptionError for what is neither."""
    if given is None or isinstance(given, Plan):
        return given
    if not isinstance(given, str | os.PathLike):
        raise OptionError(f"plan is a Plan, or the path of a plan.json; got {_told(given)}")
    path = path_of(given, "plan")
    return read_plan(path / "plan.json" if path.is_dir() else path)


def calibration_of(
    given: CalibrationLike | Mapping[str, Any] | None, name: str = "calibration"
) -> CalibrationConfig | None:
    """Return where text comes from, or None if none is given.

    Raises OptionError for what is no text at all, an empty list among it, and DataError for one row that is wrong.
    """
    if given is None or isinstance(given, CalibrationConfig):
        return given
    if isinstance(given, str | os.PathLike):
        source = os.fspath(path_of(given, name))
        return CalibrationConfig(source if not str(given).startswith(TASK_PREFIX) else str(given))
    if isinstance(given, Mapping):
        if any(isinstance(value, np.ndarray) for value in given.values()):
            return GivenFeeds(batches=(_batch(given, name),))
        return config_of(CalibrationConfig, given, name=name)
    if not isinstance(given, Iterable):
        raise OptionError(f"{name} is {_TEXTS}; got {_told(given)}")
    rows = list(given)
    if not rows:
        raise OptionError(f"{name} is empty: give at least one text, or leave it out")
    if isinstance(rows[0], Mapping | CalibrationBatch):
        return GivenFeeds(batches=tuple(_batch(row, f"{name}[{number}]") for number, row in enumerate(rows)))
    return GivenTexts(texts=tuple(_texts(row, f"{name}[{number}]") for number, row in enumerate(rows)))


@contextmanager
def model_file(given: ModelLike, name: str = "model") -> Iterator[Path]:
    """Give the path of a model; one in memory is written to a folder that is gone afterwards, with what lay beside its file.

    ``hf://org/name`` is fetched, see `squeeze_onnx.data.hub`. Raises OptionError for what is no model, and ModelError for one
    that cannot be had or written.
    """
    if isinstance(given, str | os.PathLike):
        path = path_of(given, name)
        with located(str(given) if is_hub_name(given) else path) as found:
            yield found
        return
    with TemporaryDirectory(prefix="squeeze-onnx-") as folder, called(IN_MEMORY, Path(folder)):
        yield written(given, Path(folder), name)


def written(given: object, folder: Path, name: str = "model") -> Path:
    """Write a model that lies in memory into ``folder`` and return its path; raises as `model_file` does."""
    place = folder / MODEL_FILE
    if isinstance(given, OnnxModel):
        repository = repository_of(given.path)
        if repository.root.is_dir():
            copy_companions(repository, folder)
            place = repository.place_in(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
    save_model(graph_of(given, name), place)
    return place


def graph_of(given: object, name: str = "model") -> ir.Model:
    """Return the graph of a model that lies in memory; raises as `model_file` does."""
    if isinstance(given, OnnxModel):
        return given.ir
    if isinstance(given, ir.Model):
        return given
    if not isinstance(given, onnx.ModelProto):
        raise OptionError(f"{name} is {_MODELS}; got {_told(given)}")
    try:
        graph: ir.Model = ir.from_proto(given)
    except (ir.serde.SerdeError, ValueError) as error:
        raise ModelError(
            f"{name}, a ModelProto, holds a graph that cannot be used ({error}): export it again"
        ) from error
    return graph


def track_of(given: object) -> Track:
    """Return a Track as it is; raises OptionError for what is none."""
    if not isinstance(given, Track):
        raise OptionError(f"track is a Track; got {_told(given)}")
    return given


def excluded_by(site_filter: SiteFilter, sites: Iterable[MatMulSite]) -> tuple[str, ...]:
    """Return the names of the ``sites`` that ``site_filter`` leaves out; raises OptionError if it is no function."""
    if not callable(site_filter):
        raise OptionError(f"site_filter is a function of a site that returns True or False; got {_told(site_filter)}")
    return tuple(site.name for site in sites if not site_filter(site))


def _batch(row: object, place: str) -> CalibrationBatch:
    if isinstance(row, CalibrationBatch):
        return row
    if not isinstance(row, Mapping) or not row:
        raise DataError(f"{place} is {_told(row)}, not a dict of arrays by the name of the input")
    for key, value in row.items():
        if not isinstance(value, np.ndarray) or value.ndim < 1 or not len(value):
            raise DataError(f"{place}: {key} is {_told(value)}, not an array with a sample a row")
    return CalibrationBatch(dict(row), mask_of_tokens(row))


def _texts(row: object, place: str) -> tuple[str, ...]:
    texts = (row,) if isinstance(row, str) else row
    if (
        not isinstance(texts, tuple | list)
        or not 1 <= len(texts) <= 2
        or not all(isinstance(text, str) for text in texts)
    ):
        raise DataError(f"{place} is {_told(row)}, not a text or a pair of texts")
    if not all(text.strip() for text in texts):
        raise DataError(f"{place} is blank")
    return tuple(texts)


def _told(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 and "\n" not in shown else _a(type(value).__name__)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeio' else 'a'} {noun}"
