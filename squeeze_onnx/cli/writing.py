"""Writing reports where ``--json`` and ``--html`` say, and not where a model lies."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.data.companions import companions
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.support.errors import OutputError
from squeeze_onnx.support.staging import staged_file


def refuse_overwriting_models(models: Iterable[Path], *targets: Path | None) -> None:
    """Raise OutputError if a report would replace a model that it is about, or its tokenizer or configuration."""
    repositories = [find_repository(model) for model in models]
    files = [each.root / name for each in repositories for name in (each.model, *companions(each))]
    inputs = {os.path.realpath(path) for path in files}
    for target in targets:
        if target is not None and os.path.realpath(target) in inputs:
            raise OutputError(f"{target} belongs to the model: name another file for the report")


def write_reports(
    report: Mapping[str, Any],
    json_path: Path | None,
    html_path: Path | None,
    render: Callable[[Mapping[str, Any]], str],
) -> None:
    """Write ``report`` as JSON (``-``: standard output) and as the HTML that ``render`` makes of it."""
    if json_path is not None:
        write_json(report, json_path)
    if html_path is not None:
        write_text(html_path, render(report))


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Write ``report`` as JSON to ``path``, or to standard output for ``-``."""
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    if str(path) == "-":
        click.echo(text, nl=False)
    else:
        write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with staged_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
