"""The ridge of the refit, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_ridge --glue DIR [--model minilm-l6 …] [--keep 0.5 …] [--ridge 0.1 …] [--row LABEL …]

Every reference model is squeezed with each ridge, on 1,024 rows of train text; what the table shows is how far its answers
move on 512 other rows of train text, without labels. Keeps rows in models/NAME/results/ridge.json.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import OptimizeConfig, load_model
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import Survey, take_survey
from tools.held_out import Setting, Trial, keep
from tools.measuring import TASKS, Recorder, data_options, row_options


@click.command()
@data_options
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=["minilm-l6"])
@click.option("--keep", "keeps", multiple=True, type=float, default=[0.5, 0.33])
@click.option("--ridge", "ridges", multiple=True, type=float, default=[0.01, 0.03, 0.1, 0.3, 1.0])
def main(
    *,
    glue: Path,
    models: Path,
    names: Sequence[str],
    keeps: Sequence[float],
    ridges: Sequence[float],
    recorder: Recorder,
) -> None:
    """Measure, and keep rows in models/NAME/results/ridge.json."""
    for name in names:
        settings = settings_of(Trial.of(models / name / "onnx", TASKS[name], glue), keeps, ridges)
        keep(settings, recorder, name, "ridge", {"keep": keeps, "ridge": ridges})


def settings_of(trial: Trial, keeps: Sequence[float], ridges: Sequence[float]) -> Iterator[Setting]:
    """Yield what each of ``ridges`` does to the answers on held-out text at each of ``keeps``."""

    @cache
    def surveyed() -> Survey:
        return take_survey(Context(trial.dense, OptimizeConfig(method="whiten", simulations=1), trial.calibration))

    def measure(budget: float, ridge: float) -> dict[str, Any]:
        model, survey = load_model(trial.dense.path), surveyed()
        plan = plan_for(Context(model, OptimizeConfig(method="whiten", keep=budget)), survey)
        squeezed = carry_out(Context(model, batches=trial.calibration), plan, survey, ridge=ridge).model.ir
        return {"keep": budget, "ridge": ridge, **trial.movement(squeezed)}

    for budget, ridge in product(keeps, ridges):
        yield Setting(f"ridge {ridge}, keep {budget}", partial(measure, budget, ridge))


if __name__ == "__main__":
    main()
