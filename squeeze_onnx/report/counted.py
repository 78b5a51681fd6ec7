"""What a report counts: texts or inputs that were saved, and the tokens of them where a model answers for each."""

from collections.abc import Mapping
from typing import Any


def what_was_read(report: Mapping[str, Any]) -> str:
    """Return what the calibration of ``report``, the content of report.json, is a number of: "texts" or "inputs"."""
    entry = report.get("calibration")
    return "inputs" if entry is not None and entry["read_as"].startswith("model inputs") else "texts"


def certified_on(report: Mapping[str, Any]) -> str:
    """Return how much the certificate of ``report`` was measured on, such as "96 tokens of 8 texts"."""
    certificate = report["certificate"]
    tokens = f"{certificate['tokens']:,} tokens of " if certificate.get("tokens") else ""
    return f"{tokens}{certificate['texts']:,} {what_was_read(report)}"
