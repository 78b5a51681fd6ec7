"""Writing reports where ``--json`` and ``--html`` say."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.staging import staged_file


def write_reports(
    report: Mapping[str, Any],
    json_path: Path | None,
    html_path: Path | None,
    render: Callable[[Mapping[str, Any]], str],
) -> None:
    """Write ``report`` as JSON (``-``: standard output) and as the HTML that ``render`` makes of it."""
    if json_path is not None:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        if str(json_path) == "-":
            click.echo(text, nl=False)
        else:
            _write(json_path, text)
    if html_path is not None:
        _write(html_path, render(report))


def _write(path: Path, text: str) -> None:
    with staged_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
