"""plan.json read again: as it was written, or edited."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from squeeze_onnx.compress.forms import FORM_KEYS, read_form
from squeeze_onnx.compress.plan import FORMAT, Plan, PlannedPrecision, PlannedTokens
from squeeze_onnx.compress.planned_site import PlannedSite, break_even_rank, is_count
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.suggestions import did_you_mean

_PLAN_KEYS = ("format", "method", "budget", "refit", "precision", "tokens", "sites", "skipped")

_SITE_KEYS = ("name", "layer", "role", "shape", "break_even_rank", "parameters", "reason", "sensitivity")
"""Of every entry, whatever becomes of the site."""


BY_HAND = "set by hand in the plan"
"""The reason of a site that keeps another number of parameters than was written down when it was planned."""


def read_plan(path: str | Path) -> Plan:
    """Read a ``plan.json``.

    Raises OptionError, naming the file and the entry at fault, if it is missing, not JSON or not a plan.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise OptionError(
            f"cannot read the plan {path}: {error.strerror}; give the plan.json of an earlier run"
        ) from error
    except (ValueError, RecursionError) as error:
        raise OptionError(f"the plan {path} is not JSON ({error}); give the plan.json of an earlier run") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise OptionError(f'the plan {path} lacks "format": "{FORMAT}"; give the plan.json of an earlier run')
    for key, kind in (("method", str), ("budget", dict), ("sites", list), ("skipped", list)):
        if not isinstance(document.get(key), kind):
            raise OptionError(
                f'the plan {path} has no {kind.__name__} under "{key}"; compare it with the plan.json of a run'
            )
    _refuse_unknown(document, _PLAN_KEYS, f"the plan {path}")
    refit = document.get("refit", False)
    if not isinstance(refit, bool):
        raise OptionError(f'the plan {path}: "refit" is {refit!r}, not true or false')
    sites = tuple(_read_site(path, index, entry) for index, entry in enumerate(document["sites"]))
    skipped = tuple(_read_skipped(path, index, entry) for index, entry in enumerate(document["skipped"]))
    precision = _read_precision(path, document.get("precision", PlannedPrecision().to_json()))
    tokens = None if document.get("tokens") is None else _read_tokens(path, document["tokens"])
    return Plan(document["method"], document["budget"], sites, skipped, refit, precision, tokens)


def _refuse_unknown(entry: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    """Raise OptionError for a key that nobody reads: a typing error would leave things as they were, and nobody would know."""
    for key in entry:
        if key not in known:
            hint = did_you_mean(key, known) or f"; known are {', '.join(known)}"
            raise OptionError(f"{place}: unknown key {key!r}{hint}")


def _refuse_constant(word: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads but JSON does not have."""
    raise ValueError(f"it holds {word}")


def _read_precision(path: Path, entry: Any) -> PlannedPrecision:
    kept = entry.get("kept") if isinstance(entry, dict) else None
    named = isinstance(entry, dict) and isinstance(entry.get("name"), str)
    listed = kept is None or (isinstance(kept, list) and all(isinstance(name, str) for name in kept))
    if not (named and listed):
        raise OptionError(f'the plan {path}: "precision" is {entry!r}, not a "name" and null or names under "kept"')
    _refuse_unknown(entry, tuple(field.name for field in fields(PlannedPrecision)), f'the plan {path}, "precision"')
    target = entry.get("target_cpu", PlannedPrecision.target_cpu)
    if not isinstance(target, str):
        raise OptionError(f'the plan {path}: "target_cpu" is {target!r}, not the name of one')
    return PlannedPrecision(entry["name"], None if kept is None else tuple(kept), target)


def _read_tokens(path: Path, entry: Any) -> PlannedTokens:
    place = f'the plan {path}, "tokens"'
    if not isinstance(entry, dict) or not isinstance(entry.get("layers"), list) or not _is_share(entry.get("asked")):
        raise OptionError(f'{place}: give a fraction under "asked" and a list under "layers"')
    _refuse_unknown(entry, ("asked", "layers"), place)
    rates: dict[int, float] = {}
    for index, step in enumerate(entry["layers"]):
        if not isinstance(step, dict) or not isinstance(step.get("layer"), int) or not _is_share(step.get("rate")):
            raise OptionError(f'{place}, layers[{index}]: give a "layer" and a "rate" above 0 and up to 1')
        _refuse_unknown(step, ("layer", "rate"), f"{place}, layers[{index}]")
        layer, rate = step["layer"], float(step["rate"])
        if rates and (layer <= max(rates) or rate > min(rates.values())):
            raise OptionError(
                f"{place}, layers[{index}]: layers come in order, and none has a higher rate than one before"
            )
        rates[layer] = rate
    return PlannedTokens(float(entry["asked"]), rates)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _read_skipped(path: Path, index: int, entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "reason")):
        raise OptionError(f'the plan {path}, skipped[{index}]: give an object with a "name" and a "reason"')
    _refuse_unknown(entry, ("name", "reason"), f"the plan {path}, skipped[{index}]")
    return {key: entry[key] for key in ("name", "reason")}


def _read_site(path: Path, index: int, entry: Any) -> PlannedSite:
    def fault(text: str) -> OptionError:
        name = entry.get("name") if isinstance(entry, dict) else None
        return OptionError(f"the plan {path}, sites[{index}] ({name or 'no name'}): {text}")

    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise fault('give an object with a "name"')
    _refuse_unknown(entry, (*_SITE_KEYS, *FORM_KEYS), f"the plan {path}, sites[{index}] ({entry['name']})")
    shape, layer = entry.get("shape"), entry.get("layer")
    if not (isinstance(shape, list) and len(shape) == 2 and all(is_count(size) for size in shape)):
        raise fault('"shape" is not [in, out]')
    try:
        form = read_form(entry, (shape[0], shape[1]))
    except OptionError as error:
        raise fault(str(error)) from error
    sensitivity = entry.get("sensitivity", 1.0)
    if isinstance(sensitivity, bool) or not (isinstance(sensitivity, int | float) and 0 <= sensitivity < math.inf):
        raise fault(f'"sensitivity" is {sensitivity!r}, not a number from 0 on')
    if layer is not None and not (isinstance(layer, int) and layer >= 0):
        raise fault(f'"layer" is {layer!r}, not null or an integer')
    planned = entry.get("parameters")
    nothing = planned == 0 and not isinstance(planned, bool)
    if planned is not None and not is_count(planned) and not nothing:
        raise fault(f'"parameters" is {planned!r}, not null or a positive integer')
    site = PlannedSite(
        name=entry["name"],
        layer=layer,
        role=str(entry.get("role", "other")),
        shape=(shape[0], shape[1]),
        break_even_rank=break_even_rank(shape[0], shape[1]),
        form=form,
        reason=str(entry.get("reason", "as the plan says")),
        sensitivity=float(sensitivity),
    )
    return site if planned in (None, site.kept_parameters) else replace(site, reason=BY_HAND)
