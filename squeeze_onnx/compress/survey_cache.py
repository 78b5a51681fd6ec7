"""Surveys on disk: what a model costs to look at is paid once, and every budget after that costs the rewrite only.

A file holds what one survey measured, for the very bytes of the model and of the calibration data, the method, and all
options that bear on it: these make its key, and a file is read for its own key only. Arrays lie in an .npz, everything else as
JSON in it; nothing is ever unpickled.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from squeeze_onnx.compress.allocators import Candidate, Sharing
from squeeze_onnx.compress.automatic import check_distillation, resolve_method
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.objectives import objective_of
from squeeze_onnx.compress.precision import rounds_weights
from squeeze_onnx.compress.removal_path import path_of
from squeeze_onnx.compress.slicing.heads import Contexts, Scores
from squeeze_onnx.compress.slicing.neurons import Neurons
from squeeze_onnx.compress.slicing.rotated import RotatedScores
from squeeze_onnx.compress.soco.stages import StageRecord
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.embedding_entry import embedding_entry
from squeeze_onnx.spectral.elimination import Elimination
from squeeze_onnx.spectral.fisher_moments import ElementFisher, OutputFisher, RowFisher
from squeeze_onnx.spectral.head_bases import ScoreBases
from squeeze_onnx.spectral.moments import SecondMoment, TokenFrequency
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.spectral.rmt.summary import NoiseCut, SpectrumSummary
from squeeze_onnx.spectral.weightings import LearnedSpectrum
from squeeze_onnx.support.errors import DataError, InputError, OptionError
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.support.staging import staged_file
from squeeze_onnx.support.stopwatch import Stopwatch
from squeeze_onnx.support.version import __version__

FORMAT = "squeeze-onnx/survey/10"

OF_THE_BUDGET = frozenset(
    (
        *("method", "keep", "floor", "above_break_even", "joint_qkv", "refit", "distill", "distill_layers"),
        *("external_data", "fuse", "objective", "batch_size", "sequence_length", "threads", "precision", "rank_rule"),
        *("target_cpu", "force_write", "max_size", "effort", "keep_vocabulary", "output_dimensions", "output_type"),
        *("keep_cache", "prune_tokens", "remove_sublayers"),
    )
)
"""Options that a survey does not depend on; of the method it is the one that ``auto`` stands for."""

LEARNED_FOR = frozenset({"keep", "floor"})
"""Of these, what a survey does depend on if the method learns: it learns for a budget, though any can be cut from it."""

_FOUND_ANEW = frozenset({"spectra", "skipped", "objective", "removable", "timing"})
"""Fields of a survey that belong to one loaded copy of the model, to one machine, or to one run."""

_DOCUMENT = "document"
_KINDS = {
    kind.__name__: kind
    for kind in (
        *(Candidate, Contexts, ElementFisher, Elimination, LearnedSpectrum, Neurons, NoiseCut),
        *(OutputFisher, RotatedScores, RowFisher),
        *(ScoreBases, Scores, SecondMoment, Sharing, Spectrum, SpectrumSummary, StageRecord, TokenFrequency),
    )
}
"""What a file may hold besides plain values and arrays."""


def cached_survey(context: Context, cache: Path) -> Survey:
    """Return the survey of the dense model that lies in the folder ``cache``; if there is none, take it and put it there.

    The survey is the same bit for bit either way, but for its ``timing``.

    Raises what `take_survey` raises, DataError for a file that is damaged, OutputError if it cannot be written or another run is
    taking the same survey.
    """
    clock = Stopwatch()
    check_distillation(context)
    with clock.stage("cache"):
        key = survey_key(context)
        path = cache / f"survey-{key[:16]}.npz"
        if path.exists():
            found, objective = _read(path, key, context), objective_of(context)
            removable = path_of(context, found["method"], found["spectra"], found["moments"], objective)
            return Survey(**found, objective=objective, removable=removable, timing=clock.seconds)
    with reserved(path):
        survey = take_survey(context)
        with clock.stage("cache"):
            _write(path, key, survey)
    return Survey(**{**_shallow(survey), "timing": {**survey.timing, **clock.seconds}})


def survey_of(context: Context, cache: Path | None) -> Survey:
    """Return the survey of the dense model: that in ``cache`` if a folder is given, see `cached_survey`, or one that is taken."""
    return take_survey(context) if cache is None else cached_survey(context, cache)


def check_cache(cache: Path, out: Path) -> None:
    """Raise OptionError unless ``cache`` can hold files while the folder ``out`` is made or replaced."""
    if cache.exists() and not cache.is_dir():
        raise OptionError(f"`cache` {cache} is a file; name a folder")
    if Path(os.path.realpath(cache)).is_relative_to(os.path.realpath(out)):
        raise OptionError(f"`cache` {cache} lies in the output, which is replaced as a whole; name another folder")


def survey_key(context: Context) -> str:
    """Return the SHA-256, in hexadecimal, of all that a survey is made from."""
    method, config = resolve_method(context), context.config
    learns, runs = METHODS[method].learns, METHODS[method].needs_calibration
    left_out = OF_THE_BUDGET - LEARNED_FOR if learns else OF_THE_BUDGET
    ingredients = {
        "format": FORMAT,
        "version": __version__,
        "model": dict(context.size.sha256),
        "method": method,
        "calibration": _digest(context.weighed if runs else ()),
        "answer": _answer(context) if runs else None,
        "rounded": any(site.weight.decoding for site in context.sites) and rounds_weights(config.precision),
        "learned on": _digest(context.fitted) if learns else None,
        "options": {name: value for name, value in config.to_json().items() if name not in left_out},
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def _answer(context: Context) -> dict[str, object] | None:
    """Return how answers are read, which the files beside the model say."""
    head = context.known_head
    return None if head is None else {"kind": head.kind, "output": head.output, "embedding": embedding_entry(head)}


def _digest(batches: Sequence[CalibrationBatch]) -> str:
    """Return the SHA-256 of the arrays that the model is fed, which says more than where they came from."""
    digest = hashlib.sha256()
    for batch in batches:
        masks = {} if batch.mask is None else {"": batch.mask}
        for name, array in sorted({**batch.feeds, **masks}.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _write(path: Path, key: str, survey: Survey) -> None:
    encoder = _Encoder()
    document = {
        "key": key,
        "survey": {name: encoder.encode(value) for name, value in _shallow(survey, but=_FOUND_ANEW).items()},
        "spectra": {
            measured.site.name: {
                name: encoder.encode(value) for name, value in _shallow(measured, but={"site"}).items()
            }
            for measured in survey.spectra
        },
    }
    encoder.arrays[_DOCUMENT] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    with staged_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **encoder.arrays)


def _read(path: Path, key: str, context: Context) -> dict[str, Any]:
    """Return the fields of the survey, but for its objective and timing."""
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            document = json.loads(archive[_DOCUMENT].tobytes())
            if document["key"] != key:
                raise DataError(f"{path} is the survey of another model, data or options: delete it")
            decoder = _Decoder(archive)
            spectra = tuple(
                SiteSpectra(site, **decoder.fields(document["spectra"][site.name])) for site in context.sites
            )
            measured = decoder.fields(document["survey"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except InputError as error:
        raise error if isinstance(error, DataError) else _damaged(path, error) from error
    return {**measured, "spectra": spectra, "skipped": context.skipped}


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"the survey {path} is damaged ({type(error).__name__}: {error}): delete it, and it is taken anew")


def _shallow(value: Any, but: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Return the fields of a dataclass, as they are."""
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in but}


class _Encoder:
    """Values to JSON, their arrays set apart in ``arrays``, each once."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self._entries: dict[int, dict[str, Any]] = {}

    def encode(self, value: Any) -> Any:
        """Return what `_Decoder.decode` makes ``value`` of; TypeError for a kind of value that is not in `_KINDS`."""
        if isinstance(value, np.ndarray):
            return self._entries.get(id(value)) or self._entries.setdefault(id(value), self._put(value))
        if isinstance(value, Mapping):
            return {"mapping": {key: self.encode(entry) for key, entry in value.items()}}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(entry) for entry in value]}
        if is_dataclass(value) and type(value).__name__ in _KINDS:
            return {"kind": type(value).__name__, "fields": {k: self.encode(v) for k, v in _shallow(value).items()}}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a survey file cannot hold a {type(value).__name__}")

    def _put(self, array: np.ndarray) -> dict[str, Any]:
        """Store ``array``; of a symmetric matrix, as every Gram matrix is, one triangle will do."""
        name = f"array{len(self.arrays)}"
        symmetric = array.ndim == 2 and array.shape[0] == array.shape[1] and np.array_equal(array, array.T)
        self.arrays[name] = array[np.tril_indices(len(array))] if symmetric else array
        return {"array": name, "side": len(array) if symmetric else None}


class _Decoder:
    """What `_Encoder` wrote, as values; what was one object is one again, and computes what it caches once."""

    def __init__(self, archive: NpzFile) -> None:
        self._archive = archive
        self._known: dict[str, Any] = {}

    def fields(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        """Decode the fields of one dataclass."""
        return {name: self.decode(entry) for name, entry in entries.items()}

    def decode(self, entry: Any) -> Any:
        """Return the value; KeyError, TypeError or ValueError if ``entry`` is none that `_Encoder` writes."""
        if not isinstance(entry, dict):
            return entry
        spelled = json.dumps(entry)
        if spelled not in self._known:
            self._known[spelled] = self._make(entry)
        return self._known[spelled]

    def _make(self, entry: Mapping[str, Any]) -> Any:
        if "mapping" in entry:
            return self.fields(entry["mapping"])
        if "tuple" in entry:
            return tuple(self.decode(each) for each in entry["tuple"])
        if "kind" in entry:
            return _KINDS[entry["kind"]](**self.fields(entry["fields"]))
        stored = self._archive[entry["array"]]
        return stored if entry["side"] is None else _unfold(stored, entry["side"])


def _unfold(triangle: np.ndarray, side: int) -> np.ndarray:
    matrix = np.zeros((side, side), triangle.dtype)
    matrix[np.tril_indices(side)] = triangle
    return matrix + np.tril(matrix, -1).T
