"""What was measured of a model before: the part of a report that belongs into its bundle, if the report is about these bytes."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.evaluate.benchmark import FORMAT as BENCH_FORMAT
from squeeze_onnx.evaluate.validation import FORMAT as VALIDATION_FORMAT
from squeeze_onnx.report.json import OPTIMIZATION_FORMAT
from squeeze_onnx.support.errors import OptionError

Report = Mapping[str, Any]
Digests = Collection[str]


def read_measured(path: Path, digests: Digests) -> tuple[str, dict[str, Any]]:
    """Return (kind, what the manifest says) of the report ``path`` on the model whose files have these SHA-256 ``digests``.

    Raises OptionError if the file is no report of `optimize`, `validate` or `bench`, or one on another model.
    """
    report = read_json_object(path)
    kind, about = _KINDS.get(str(report.get("format")), ("", None))
    if about is None:
        raise OptionError(f"`measured` {path} is no JSON of optimize, validate or bench: its format is none of theirs")
    try:
        found = about(report, digests)
        environment = report["environment"]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise OptionError(f"`measured` {path} is not a whole report: write it again") from error
    if found is None:
        raise OptionError(f"`measured` {path} is about a model of other bytes: measure the one that is packaged")
    return kind, {**found, "environment": environment}


def _squeezed(report: Report, digests: Digests) -> dict[str, Any] | None:
    if set(report["files"]["optimized"].values()) != set(digests):
        return None
    return {"method": report["method"], "budget": report["budget"], "size": report["size"]}


def _validated(report: Report, digests: Digests) -> dict[str, Any] | None:
    if set(report["files"]["candidate"].values()) != set(digests):
        return None
    names = ("task", "primary_metric", "metrics", "cosine_similarity", "agreement", "latency", "max_drop", "passed")
    data = {name: report["data"][name] for name in ("rows", "partial", "max_tokens")}  # not where it lay
    return {"data": data, **{name: report[name] for name in names}}


def _timed(report: Report, digests: Digests) -> dict[str, Any] | None:
    numbers = [index for index, model in enumerate(report["models"]) if set(model["files"].values()) == set(digests)]
    if not numbers:
        return None
    shapes = [
        {name: shape[name] for name in ("batch_size", "sequence_length")}
        | {name: shape["models"][numbers[0]][name] for name in ("p50_ms", "p95_ms")}
        for shape in report["shapes"]
    ]
    return {
        "provider": report["settings"]["provider"],
        "threads": report["settings"]["threads"],
        "peak_memory_bytes": report["models"][numbers[0]]["peak_memory_bytes"],
        "shapes": shapes,
    }


_KINDS: Mapping[str, tuple[str, Callable[[Report, Digests], dict[str, Any] | None]]] = {
    OPTIMIZATION_FORMAT: ("optimization", _squeezed),
    VALIDATION_FORMAT: ("validation", _validated),
    BENCH_FORMAT: ("bench", _timed),
}
