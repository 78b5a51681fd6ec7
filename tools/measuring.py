"""What the tools that measure have in common: the reference models, their tasks, where results lie, and options."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from squeeze_onnx import ValidateConfig, validate
from squeeze_onnx.compress.squeezing import SqueezeResult
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.graph.io.model import save_model

F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = (0.75, 0.5, 0.33)

TASKS = {
    "minilm-l6": "stsb",
    "mpnet-base": "stsb",
    "minilm-l6-MRPC": "mrpc",
    "minilm-l6-SST-2": "sst2",
    "minilm-l6-CoLA": "cola",
    "mpnet-base-MRPC": "mrpc",
}
"""Reference model → the GLUE task it is scored on."""

page_option: Callable[[F], F] = click.option(
    "--page", type=click.Path(path_type=Path), default=ROOT / "docs" / "results.md", help="Where the table stands."
)


def data_options(command: F) -> F:
    """Say where the data and the reference models lie (``glue``, ``models``)."""
    glue = click.option(
        "--glue", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of GLUE splits."
    )
    built = Path.home() / ".cache/squeeze-onnx/models"
    return glue(click.option("--models", type=click.Path(path_type=Path), default=built, show_default=True)(command))


def results_path(name: str, kind: str) -> Path:
    """Return where what was measured of the model ``name`` is kept."""
    return ROOT / "models" / name / "results" / f"{kind}.json"


def known_results(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield model and rows of all that was measured, in the order of `TASKS`."""
    for name in TASKS:
        path = results_path(name, kind)
        if path.exists():
            yield name, json.loads(path.read_text())["rows"]


def score(path: Path, result: SqueezeResult, task: str, glue: Path) -> dict[str, Any]:
    """Hold what was made of the model at ``path`` against it, on the whole dev set."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(result.model.ir, Path(folder) / "model.onnx")
        copy_companions(path, Path(folder))
        scored = validate(path, folder, ValidateConfig(task=task, data=glue, latency_rounds=1)).to_json()
    metric = scored["primary_metric"]
    return {
        "metric": metric,
        **scored["metrics"][metric],
        "cosine_similarity": scored["cosine_similarity"],
        "agreement": scored["agreement"],
        "kept": result.plan.kept_parameters / result.plan.eligible_parameters,
    }
