"""The method that ``auto`` stands for, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_method --glue DIR [--model minilm-l6-CoLA …] [--method whiten …] [--keep 0.5 …]

Every reference model is squeezed by each method, on 1,024 rows of train text; what the table shows is how far its answers
move on 512 other rows of train text, without labels. Writes models/NAME/results/method.json.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.methods import METHODS
from squeeze_onnx.squeezing import carry_out, plan_for
from squeeze_onnx.survey import take_survey
from tools.held_out import held_out_batches, movement
from tools.measuring import TASKS, data_options, results_path


@click.command()
@data_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=list(TASKS))
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)), default=["whiten", "fisher"])
@click.option("--keep", "keeps", multiple=True, type=float, default=[0.5, 0.33])
def main(glue: Path, models: Path, names: Sequence[str], methods: Sequence[str], keeps: Sequence[float]) -> None:
    """Measure, print, and write models/NAME/results/method.json."""
    for name in names:
        results = results_path(name, "method")
        rows: list[dict[str, Any]] = []
        for row in measure(models / name / "onnx", TASKS[name], glue, methods, keeps):
            rows.append(row)
            asked = [f"--method {method}" for method in methods] + [f"--keep {keep}" for keep in keeps]
            command = " ".join(["python -m tools.choose_method --glue DIR --model", name, *asked])
            results.write_text(json.dumps({"text": "train", "command": command, "rows": rows}, indent=1) + "\n")
            click.echo(f"{name}: {row}")


def measure(
    path: Path, task: str, glue: Path, methods: Sequence[str], keeps: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Yield what each of ``methods`` does to the answers on held-out text at each of ``keeps``."""
    dense = load_model(path)
    calibration = load_calibration(dense, CalibrationConfig(f"glue:{task}", glue))
    held_out = held_out_batches(dense, task, glue)
    for method in methods:
        survey = take_survey(dense, OptimizeConfig(method=method, simulations=1), calibration)
        for keep in keeps:
            model = load_model(path)
            plan = plan_for(model, survey, OptimizeConfig(method=method, keep=keep))
            squeezed = carry_out(model, plan, survey, calibration).model.ir
            yield {"method": method, "keep": keep, **movement(dense, squeezed, held_out)}


if __name__ == "__main__":
    main()
