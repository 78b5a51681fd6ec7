"""The ridge of the refit, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_ridge --glue DIR [--model minilm-l6 …] [--keep 0.5 …] [--ridge 0.1 …]

Every reference model is squeezed with each ridge, on 1,024 rows of train text; what the table shows is how far its answers
move on 512 other rows of train text, without labels. Writes models/NAME/results/ridge.json.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.squeezing import carry_out, plan_for
from squeeze_onnx.survey import take_survey
from tools.held_out import held_out_batches, movement
from tools.measuring import TASKS, data_options, results_path


@click.command()
@data_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=["minilm-l6"])
@click.option("--keep", "keeps", multiple=True, type=float, default=[0.5, 0.33])
@click.option("--ridge", "ridges", multiple=True, type=float, default=[0.01, 0.03, 0.1, 0.3, 1.0])
def main(glue: Path, models: Path, names: Sequence[str], keeps: Sequence[float], ridges: Sequence[float]) -> None:
    """Measure, print, and write models/NAME/results/ridge.json."""
    for name in names:
        results = results_path(name, "ridge")
        rows: list[dict[str, Any]] = []
        for row in measure(models / name / "onnx", TASKS[name], glue, list(product(keeps, ridges))):
            rows.append(row)
            asked = [f"--keep {keep}" for keep in keeps] + [f"--ridge {ridge}" for ridge in ridges]
            command = " ".join(["python -m tools.choose_ridge --glue DIR --model", name, *asked])
            results.write_text(json.dumps({"text": "train", "command": command, "rows": rows}, indent=1) + "\n")
            click.echo(f"{name}: {row}")


def measure(path: Path, task: str, glue: Path, settings: Sequence[tuple[float, float]]) -> Iterator[dict[str, Any]]:
    """Yield what each of ``settings``, (keep, ridge), does to the answers on held-out text."""
    dense = load_model(path)
    calibration = load_calibration(dense, CalibrationConfig(f"glue:{task}", glue))
    held_out = held_out_batches(dense, task, glue)
    config = OptimizeConfig(method="whiten", simulations=1)
    survey = take_survey(dense, config, calibration)
    for keep, ridge in settings:
        model = load_model(path)
        plan = plan_for(model, survey, OptimizeConfig(method="whiten", keep=keep))
        squeezed = carry_out(model, plan, survey, calibration, ridge=ridge).model.ir
        yield {"keep": keep, "ridge": ridge, **movement(dense, squeezed, held_out)}


if __name__ == "__main__":
    main()
