"""What ``optimize`` says when it is done."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from squeeze_onnx.cli.goal_lines import goal_lines, words_lines
from squeeze_onnx.cli.reading_lines import cache_line, embedding_lines, enough_lines, stored_line, tokens_line
from squeeze_onnx.cli.search_lines import search_verdict
from squeeze_onnx.cli.tables import (
    certificate_line,
    distillation_line,
    fusion_table,
    last_look_line,
    latency_line,
    optimization_table,
    precision_line,
    processors_line,
    size_table,
    skipped_table,
)
from squeeze_onnx.report.counted import certified_on, what_was_read
from squeeze_onnx.support.readable import readable_bytes, readable_seconds


def optimization_lines(report: Mapping[str, Any], out: Path, *, verbose: bool) -> Iterator[str | Table]:
    """Yield what there is to say of ``report``, the content of ``report.json`` in the folder ``out``."""
    if verbose:
        yield optimization_table(report)
        yield skipped_table(report)
    yield size_table(report)
    if report["fused"] is not None:
        yield fusion_table(report)
    yield from words_lines(report.get("vocabulary"))
    before, after = (readable_bytes(report["size"][f"{which}_bytes"]) for which in ("baseline", "optimized"))
    took = readable_seconds(sum(report["timing"].values()))
    yield f"{out}: {before} → {after}, method {report['method']}, in {took}"
    yield from enough_lines(report)
    if report["precision"]["name"] != "fp32":
        yield precision_line(report["precision"])
        if report["precision"]["processors"] is not None:
            yield processors_line(report["precision"]["processors"])
        yield from report["precision"]["notes"]
    if report.get("tokens") is not None:
        yield tokens_line(report["tokens"])
    if report.get("cache") is not None:
        yield cache_line(report["cache"])
    yield from embedding_lines(report.get("embedding"))
    if report.get("stored_embedding") is not None:
        yield stored_line(report["stored_embedding"])
    # What was not asked for is null, or not there.
    told: dict[str, Callable[[Any], str]] = {
        "latency": latency_line,
        "distillation": distillation_line,
        "search": search_verdict,
        "certificate": lambda entry: certificate_line(entry, measured_on=certified_on(report)),
        "last_look": lambda entry: last_look_line(entry, read=what_was_read(report)),
    }
    if report.get("goal") is not None:
        yield from goal_lines(report["goal"])
    yield from (f"Note: {note}" for note in report["notes"])
    yield from (line(report[part]) for part, line in told.items() if report.get(part) is not None)
