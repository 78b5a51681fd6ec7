"""How distillation learns, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_distillation --glue DIR [--model minilm-l6 …] [--rate 1e-3 …] [--hidden 10 …] [--share 0.5 …] …

Reference models are squeezed as ``auto`` does, then distilled at each rate, with each weight of the hidden states in the loss,
and with each share of the steps through single layers, all on 1,024 rows of train text. What the rows show is the loss on the
held-out part of it, and how far the answers move on 512 other rows of train text, without labels. There is one thread: seconds of
the processor are seconds of an idle machine. Writes models/NAME/results/distillation.json.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import OptimizeConfig, load_model
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.learning.objectives import imitation_losses
from squeeze_onnx.learning.training_loop import DistillConfig, batches_to_learn_on
from tools.held_out import Trial
from tools.held_out import keep as keep_rows
from tools.measuring import TASKS, data_options

NAMES = ("minilm-l6", "minilm-l6-CoLA")


@click.command()
@data_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=NAMES)
@click.option("--keep", multiple=True, type=float, default=[0.33])
@click.option("--steps", multiple=True, type=int, default=[200])
@click.option("--rate", multiple=True, type=float, default=[5e-4, 3e-3])
@click.option("--hidden", multiple=True, type=float, default=[1.0, 10.0])
@click.option("--share", multiple=True, type=float, default=[0.0])
def main(glue: Path, models: Path, names: Sequence[str], **asked: Any) -> None:
    """Measure, print, and write models/NAME/results/distillation.json."""
    for name in names:
        keep_rows(measure(Trial.of(models / name / "onnx", TASKS[name], glue), **asked), name, "distillation", asked)


def measure(
    trial: Trial,
    keep: Sequence[float],
    *,
    steps: Sequence[int],
    rate: Sequence[float],
    hidden: Sequence[float],
    share: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Yield what distillation makes of the model squeezed to each of ``keep``; the rest as `main` says."""
    fitted = batches_to_learn_on(trial.calibration, DistillConfig())
    survey = take_survey(trial.dense, OptimizeConfig(simulations=1), fitted)
    head = head_of(trial.dense)
    for budget in keep:
        model = load_model(trial.dense.path)
        plan = plan_for(model, survey, OptimizeConfig(keep=budget))
        squeezed = carry_out(model, plan, survey, fitted).model.ir
        yield {"keep": budget, "steps": 0, "share": None, **trial.movement(squeezed)}
        for count, highest, weight, part in product(steps, rate, hidden, share):
            student = squeezed.clone()
            began = time.process_time()
            outcome = distill(
                student,
                trial.dense.ir,
                imitation_losses(trial.dense.ir, head, hidden_weight=weight),
                trial.calibration,
                DistillConfig(steps=count, rate=highest, block_share=part),
                threads=1,
            )
            yield {
                "keep": budget,
                "steps": count,
                "rate": highest,
                "hidden": weight,
                "share": part,
                "seconds": round(time.process_time() - began, 1),
                "starts": [loss for step, loss in outcome.history if step == 0],
                "loss": outcome.after,
                "best_step": outcome.best_step,
                "blocks": [[block.before, block.after] for block in outcome.blocks],
                **trial.movement(student),
            }


if __name__ == "__main__":
    main()
