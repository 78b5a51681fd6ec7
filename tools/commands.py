"""The commands that the documentation shows, carried out by the tools that measure what comes of them."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli import cli


def squeeze(command: str) -> None:
    """Run one command of squeeze-onnx in this process, so that it computes with as many threads; SqueezeError as it raises."""
    click.echo(f"squeeze-onnx {command}")
    cli.main([*shlex.split(command), "--quiet"], prog_name="squeeze-onnx", standalone_mode=False)


def scored(dense: Path, small: Path, task: str, glue: Path) -> dict[str, Any]:
    """Hold ``small`` against ``dense`` by `validate`; return its JSON, which is kept as SMALL.json."""
    told = small.with_name(f"{small.name}.json")
    squeeze(f"validate {dense} {small} --task {task} --data {glue} --json {told}")
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found


def score_values(found: dict[str, Any]) -> dict[str, Any]:
    """Return what a row says of the JSON of `validate`."""
    metric = found["primary_metric"]
    return {
        "metric": metric,
        **found["metrics"][metric],
        "cosine_similarity": found["cosine_similarity"],
        "agreement": found["agreement"],
    }
