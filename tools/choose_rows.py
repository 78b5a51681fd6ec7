"""What more text brings distillation, on text that neither the calibration nor a score looks at.

    python -m tools.choose_rows --glue DIR [--model minilm-l6-CoLA …] [--rows 1024 …] [--keep 0.33]

Reference models are squeezed as ``auto`` does and distilled, each time on so many rows of train text; what the table shows is
how far the answers move on 512 rows of train text that none of them reads, without labels. Writes models/NAME/results/rows.json.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.squeezing import squeeze_surveyed
from squeeze_onnx.compress.survey import take_survey
from tools.held_out import Trial
from tools.held_out import keep as keep_rows
from tools.measuring import TASKS, data_options


@click.command()
@data_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=["minilm-l6-CoLA"])
@click.option(
    "--rows", multiple=True, type=int, default=[1024, 4096, 7680], help="The most leaves 512 rows of the text."
)
@click.option("--keep", multiple=True, type=float, default=[0.33])
def main(glue: Path, models: Path, names: Sequence[str], rows: Sequence[int], keep: Sequence[float]) -> None:
    """Measure, print, and write models/NAME/results/rows.json."""
    for name in names:
        trial = Trial.of(models / name / "onnx", TASKS[name], glue, rows=max(rows))
        keep_rows(measure(trial, rows, keep), name, "rows", {"rows": rows, "keep": keep})


def measure(trial: Trial, rows: Sequence[int], budgets: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Yield what the model squeezed to each of ``budgets`` answers, before and after distillation on so many of ``rows``."""
    for count in rows:
        text = load_calibration(trial.dense, replace(trial.drawn, rows=count))
        survey = take_survey(trial.dense, OptimizeConfig(simulations=1), text)
        for budget in budgets:
            for config in (OptimizeConfig(keep=budget), OptimizeConfig(keep=budget, distill="auto")):
                began = time.perf_counter()
                squeezed = squeeze_surveyed(load_model(trial.dense.path), survey, config, text)
                learned = squeezed.distillation
                yield {
                    "rows": count,
                    "keep": budget,
                    "steps": 0 if learned is None else learned.steps,
                    "held out": None if learned is None else [learned.before, learned.after],
                    "seconds": round(time.perf_counter() - began, 1),
                    **trial.movement(squeezed.model.ir),
                }


if __name__ == "__main__":
    main()
