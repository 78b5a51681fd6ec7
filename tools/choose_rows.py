"""What more text brings distillation, on text that neither the calibration nor a score looks at.

    python -m tools.choose_rows --glue DIR [--model minilm-l6-CoLA …] [--rows 1024 …] [--keep 0.33] [--row LABEL …]

Reference models are squeezed as ``auto`` does and distilled, each time on so many rows of train text; what the table shows is
how far the answers move on 512 rows of train text that none of them reads, without labels. Keeps rows in
models/NAME/results/rows.json.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.squeezing import squeeze_surveyed
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.data.calibration import CalibrationBatch
from tools.held_out import Setting, Trial, keep
from tools.measuring import TASKS, Recorder, data_options, row_options


@click.command()
@data_options
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=["minilm-l6-CoLA"])
@click.option(
    "--rows", multiple=True, type=int, default=[1024, 4096, 7680], help="The most leaves 512 rows of the text."
)
@click.option("--keep", "keeps", multiple=True, type=float, default=[0.33])
def main(
    *, glue: Path, models: Path, names: Sequence[str], rows: Sequence[int], keeps: Sequence[float], recorder: Recorder
) -> None:
    """Measure, and keep rows in models/NAME/results/rows.json."""
    for name in names:
        trial = Trial.of(models / name / "onnx", TASKS[name], glue, rows=max(rows))
        keep(settings_of(trial, rows, keeps), recorder, name, "rows", {"rows": rows, "keep": keeps})


def settings_of(trial: Trial, rows: Sequence[int], budgets: Sequence[float]) -> Iterator[Setting]:
    """Yield what the model squeezed to each of ``budgets`` answers, before and after distillation on so many of ``rows``."""

    @cache
    def surveyed(count: int) -> tuple[Sequence[CalibrationBatch], Survey]:
        text = load_calibration(trial.dense, replace(trial.drawn, rows=count))
        return text, take_survey(Context(trial.dense, OptimizeConfig(simulations=1), text))

    def measure(count: int, config: OptimizeConfig) -> dict[str, Any]:
        text, survey = surveyed(count)
        began = time.perf_counter()
        squeezed = squeeze_surveyed(Context(load_model(trial.dense.path), config, text), survey)
        learned = squeezed.distillation
        return {
            "rows": count,
            "keep": config.keep,
            "steps": 0 if learned is None else learned.steps,
            "held out": None if learned is None else [learned.before, learned.after],
            "seconds": round(time.perf_counter() - began, 1),
            **trial.movement(squeezed.model.ir),
        }

    for count, budget in product(rows, budgets):
        label = f"{count:,} rows, keep {budget}"
        yield Setting(label, partial(measure, count, OptimizeConfig(keep=budget)))
        taught = partial(measure, count, OptimizeConfig(keep=budget, distill="auto"))
        yield Setting(f"{label}, distilled", taught, learned=True)


if __name__ == "__main__":
    main()
