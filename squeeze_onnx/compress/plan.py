"""The plan: what will happen to every site. JSON that people read, edit and re-apply."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.shown import Shown
from squeeze_onnx.support.suggestions import did_you_mean

FORMAT = "squeeze-onnx/plan/1"

_PLAN_KEYS = ("format", "method", "budget", "refit", "precision", "sites", "skipped")


@dataclass(frozen=True)
class PlannedSite:
    """One site's fate.

    ``rank`` is the matrix rank of the new weight: None leaves the weight as it is, a rank up to ``break_even_rank`` means two
    thin MatMuls, and a rank above it writes the truncated weight back as one dense matrix (dense-denoised).
    ``kept_shape`` is what stays of a weight that loses neurons (columns of ``ffn_in``, rows of ``ffn_out``) or dimensions of its
    heads (columns of ``query``, ``key`` and ``value``, rows of ``attention_output``), None if it loses none.
    ``shares_left`` is set on sites that read the same value through one left factor, and of one rank: the name of the first of
    them, which counts its parameters. ``sensitivity`` is what a relative squared error of the site's output does to that of the
    model; sites that share a left factor share it by that.
    """

    name: str
    layer: int | None
    role: str
    shape: tuple[int, int]
    break_even_rank: int
    rank: int | None
    reason: str
    kept_shape: tuple[int, int] | None = None
    shares_left: str | None = None
    sensitivity: float = 1.0

    @property
    def left(self) -> str:
        """The name of the site that counts the parameters of the left factor: itself, unless it shares it."""
        return self.shares_left or self.name

    @property
    def treatment(self) -> str:
        """``dense``, ``sliced``, ``factored`` or ``denoised``."""
        if self.rank is None:
            return "dense" if self.kept_shape is None else "sliced"
        return "factored" if self.shares_left or self.rank <= self.break_even_rank else "denoised"

    @property
    def dense_parameters(self) -> int:
        """Parameters of the original weight."""
        return self.shape[0] * self.shape[1]

    @property
    def kept_parameters(self) -> int:
        """Parameters of what stands in its place."""
        if self.kept_shape is not None:
            return self.kept_shape[0] * self.kept_shape[1]
        if self.rank is None or self.treatment == "denoised":
            return self.dense_parameters
        return self.rank * (sum(self.shape) if self.left == self.name else self.shape[1])


_SITE_KEYS = tuple(field.name for field in fields(PlannedSite))


@dataclass(frozen=True)
class PlannedPrecision:
    """What the squeezed weights are stored in, and the names of those ``kept`` in a higher precision (None: not chosen yet).

    ``target_cpu`` names the processors that products of integers are written for (`squeeze_onnx.compress.precision.TARGETS`).
    """

    name: str = "fp32"
    kept: tuple[str, ...] | None = None
    target_cpu: str = "any"

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``plan.json``."""
        kept = None if self.kept is None else list(self.kept)
        return {"name": self.name, "kept": kept, "target_cpu": self.target_cpu}


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """The fate of all eligible sites, the sites left out and why, and what was asked for.

    With ``refit`` the weights are not only truncated but regressed on what the squeezed model before them returns, the
    dense ones among ``sites`` too.
    """

    method: str
    budget: Mapping[str, Any]
    sites: tuple[PlannedSite, ...]
    skipped: tuple[Mapping[str, str], ...] = ()
    refit: bool = False
    precision: PlannedPrecision = PlannedPrecision()

    def summary(self) -> dict[str, str]:
        """Return the method, the budget, how many sites there are, and the precision."""
        budget = ", ".join(f"{name} {value}" for name, value in self.budget.items())
        rewritten = sum(site.treatment != "dense" for site in self.sites)
        return {
            "method": self.method,
            "budget": budget,
            "sites": f"{rewritten} of {len(self.sites)} rewritten",
            "precision": self.precision.name,
        }

    @property
    def eligible_parameters(self) -> int:
        """Parameters of all eligible weights before."""
        return sum(site.dense_parameters for site in self.sites)

    @property
    def kept_parameters(self) -> int:
        """Parameters of all eligible weights after."""
        return sum(site.kept_parameters for site in self.sites)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``plan.json``."""
        return {
            "format": FORMAT,
            "method": self.method,
            "budget": dict(self.budget),
            "refit": self.refit,
            "precision": self.precision.to_json(),
            "sites": [_site_json(site) for site in self.sites],
            "skipped": [dict(site) for site in self.skipped],
        }


def _site_json(site: PlannedSite) -> dict[str, Any]:
    kept = None if site.kept_shape is None else list(site.kept_shape)
    return asdict(site) | {"shape": list(site.shape), "kept_shape": kept}


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
    return Plan(document["method"], document["budget"], sites, skipped, refit, precision)


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
    _refuse_unknown(entry, _SITE_KEYS, f"the plan {path}, sites[{index}] ({entry['name']})")
    rank, shape, layer = entry.get("rank"), entry.get("shape"), entry.get("layer")
    if not (isinstance(shape, list) and len(shape) == 2 and all(_is_count(size) for size in shape)):
        raise fault('"shape" is not [in, out]')
    shares_left = entry.get("shares_left")
    if shares_left is not None and not (isinstance(shares_left, str) and rank is not None):
        raise fault(f'"shares_left" is {shares_left!r}, not null or the name of a site, beside a "rank"')
    largest = min(shape) if shares_left is None else shape[0]
    if rank is not None and not (_is_count(rank) and rank <= largest):
        raise fault(f'"rank" is {rank!r}, not null or an integer from 1 to {largest}')
    kept = entry.get("kept_shape")
    if kept is not None and (rank is not None or not _lies_within(kept, shape)):
        raise fault(
            f'"kept_shape" is {kept!r}, not null or [in, out] within {shape}, one of them smaller, beside "rank": null'
        )
    sensitivity = entry.get("sensitivity", 1.0)
    if isinstance(sensitivity, bool) or not (isinstance(sensitivity, int | float) and 0 <= sensitivity < math.inf):
        raise fault(f'"sensitivity" is {sensitivity!r}, not a number from 0 on')
    if layer is not None and not (isinstance(layer, int) and layer >= 0):
        raise fault(f'"layer" is {layer!r}, not null or an integer')
    return PlannedSite(
        name=entry["name"],
        layer=layer,
        role=str(entry.get("role", "other")),
        shape=(shape[0], shape[1]),
        break_even_rank=break_even_rank(shape[0], shape[1]),
        rank=rank,
        reason=str(entry.get("reason", "as the plan says")),
        kept_shape=None if kept is None else (kept[0], kept[1]),
        shares_left=shares_left,
        sensitivity=float(sensitivity),
    )


def _lies_within(kept: object, shape: list[int]) -> bool:
    if not isinstance(kept, list) or len(kept) != 2 or not all(_is_count(size) for size in kept):
        return False
    dropped: list[int] = [whole - part for part, whole in zip(kept, shape, strict=True)]
    return min(dropped) == 0 < max(dropped)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def break_even_rank(in_features: int, out_features: int) -> int:
    """Largest rank r with r(in+out) < in·out: above it, two factors hold more parameters than the dense weight."""
    return (in_features * out_features - 1) // (in_features + out_features)
