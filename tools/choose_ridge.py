"""The ridge of the refit, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_ridge --glue DIR [--model minilm-l6 …] [--keep 0.5 …] [--ridge 0.1 …]

Every reference model is squeezed with each ridge, on 1,024 rows of train text; what the table shows is how far its answers
move on 512 other rows of train text, without labels. Writes models/NAME/results/ridge.json.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import OptimizeConfig, load_model
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import take_survey
from tools.held_out import Trial, keep
from tools.measuring import TASKS, data_options


@click.command()
@data_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=["minilm-l6"])
@click.option("--keep", "keeps", multiple=True, type=float, default=[0.5, 0.33])
@click.option("--ridge", "ridges", multiple=True, type=float, default=[0.01, 0.03, 0.1, 0.3, 1.0])
def main(glue: Path, models: Path, names: Sequence[str], keeps: Sequence[float], ridges: Sequence[float]) -> None:
    """Measure, print, and write models/NAME/results/ridge.json."""
    for name in names:
        rows = measure(Trial.of(models / name / "onnx", TASKS[name], glue), list(product(keeps, ridges)))
        keep(rows, name, "ridge", {"keep": keeps, "ridge": ridges})


def measure(trial: Trial, settings: Sequence[tuple[float, float]]) -> Iterator[dict[str, Any]]:
    """Yield what each of ``settings``, (keep, ridge), does to the answers on held-out text."""
    survey = take_survey(trial.dense, OptimizeConfig(method="whiten", simulations=1), trial.calibration)
    for budget, ridge in settings:
        model = load_model(trial.dense.path)
        plan = plan_for(model, survey, OptimizeConfig(method="whiten", keep=budget))
        squeezed = carry_out(model, plan, survey, trial.calibration, ridge=ridge).model.ir
        yield {"keep": budget, "ridge": ridge, **trial.movement(squeezed)}


if __name__ == "__main__":
    main()
