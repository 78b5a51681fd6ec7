"""The method that ``auto`` stands for, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_method --glue DIR [--model minilm-l6-CoLA …] [--method whiten …] [--keep 0.5 …] [--row LABEL …]

Every reference model is squeezed by each method, on 1,024 rows of train text; what the table shows is how far its answers
move on 512 other rows of train text, without labels. Keeps rows in models/NAME/results/method.json.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import OptimizeConfig, load_model
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import Survey, take_survey
from tools.held_out import Setting, Trial, keep
from tools.measuring import TASKS, Recorder, data_options, row_options


@click.command()
@data_options
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=list(TASKS))
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)), default=["whiten", "fisher"])
@click.option("--keep", "keeps", multiple=True, type=float, default=[0.5, 0.33])
def main(
    *,
    glue: Path,
    models: Path,
    names: Sequence[str],
    methods: Sequence[str],
    keeps: Sequence[float],
    recorder: Recorder,
) -> None:
    """Measure, and keep rows in models/NAME/results/method.json."""
    for name in names:
        settings = settings_of(Trial.of(models / name / "onnx", TASKS[name], glue), methods, keeps)
        keep(settings, recorder, name, "method", {"method": methods, "keep": keeps})


def settings_of(trial: Trial, methods: Sequence[str], keeps: Sequence[float]) -> Iterator[Setting]:
    """Yield what each of ``methods`` does to the answers on held-out text at each of ``keeps``."""

    @cache
    def surveyed(method: str) -> Survey:
        return take_survey(Context(trial.dense, OptimizeConfig(method=method, simulations=1), trial.calibration))

    def measure(method: str, budget: float) -> dict[str, Any]:
        model, survey = load_model(trial.dense.path), surveyed(method)
        plan = plan_for(Context(model, OptimizeConfig(method=method, keep=budget)), survey)
        squeezed = carry_out(Context(model, batches=trial.calibration), plan, survey).model.ir
        return {"method": method, "keep": budget, **trial.movement(squeezed)}

    for method, budget in product(methods, keeps):
        yield Setting(f"{method}, keep {budget}", partial(measure, method, budget))


if __name__ == "__main__":
    main()
