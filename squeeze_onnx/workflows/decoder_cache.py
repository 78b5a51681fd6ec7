"""What a decoder's cache of keys and values takes before and after, and the files beside the model that say how it is shaped."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.data.head_size import write_head_size
from squeeze_onnx.data.repository import Repository
from squeeze_onnx.graph.match.caches import Cache, caches_in


def cache_entry(before: ir.Model, after: ir.Model | None = None) -> dict[str, Any] | None:
    """Return the ``cache`` of a report: bytes of one token of one text, and the sizes of heads; None without a cache.

    Without ``after`` there is nothing to compare with.
    """
    caches = list(caches_in(before.graph))
    if not caches or any(cache.bytes_each_token is None for cache in caches):
        return None
    if after is None:
        return {"bytes_per_token": _bytes(caches), "head_sizes": _sizes(caches)}
    names = {cache.past.name for cache in caches}
    then = [cache for cache in caches_in(after.graph) if cache.past.name in names]
    if len(then) != len(caches):
        return None
    return {
        "bytes_per_token": {"before": _bytes(caches), "after": _bytes(then)},
        "head_sizes": {"before": _sizes(caches), "after": _sizes(then)},
    }


def follow_in_files(entry: Mapping[str, Any] | None, repository: Repository, folder: Path) -> tuple[str, ...]:
    """Let the files in ``folder`` say what the ``cache`` of a report does; return the names of those that changed."""
    if entry is None:
        return ()
    before, after = entry["head_sizes"]["before"], entry["head_sizes"]["after"]
    if before == after or len(before) != 1 or len(after) != 1:
        return ()
    return write_head_size(repository, folder, before[0], after[0])


def notes_on_cache(report: Mapping[str, Any], survey: Survey) -> Iterator[str]:
    """Yield what to know of the ``cache`` of ``report`` before somebody runs the model."""
    entry = report["cache"]
    if entry is None:
        return
    before, after = entry["head_sizes"]["before"], entry["head_sizes"]["after"]
    if survey.whole_heads is not None:
        yield (
            f"The heads of keys and values stay {' and '.join(map(str, before))} wide: {survey.whole_heads}. What runs a decoder "
            "takes one size of a head for its cache."
        )
    if len(after) > 1:
        yield (
            f"Heads of keys and values have {' and '.join(map(str, after))} dimensions: ORTModelForCausalLM and "
            "onnxruntime-genai take one size for all of them; ONNX Runtime itself and run.py read the shapes off the graph."
        )
    elif before != after and not entry["files"]:
        yield (
            f"No file beside the model says that heads of keys and values have {after[0]} dimensions now: tell what runs it, "
            "ORTModelForCausalLM by config.json and onnxruntime-genai by genai_config.json."
        )


def _bytes(caches: list[Cache]) -> int:
    return sum(cache.bytes_each_token or 0 for cache in caches)


def _sizes(caches: list[Cache]) -> list[int]:
    return sorted({cache.width for cache in caches if cache.width is not None}, reverse=True)
