"""How distillation learns, chosen on text that neither the calibration nor a score looks at.

    python -m tools.choose_distillation --glue DIR [--model minilm-l6 …] [--rate 1e-3 …] [--hidden 10 …] [--share 0.5 …] …

Reference models are squeezed as ``auto`` does, then distilled at each rate, with each weight of the hidden states in the loss,
and with each share of the steps through single layers, all on 1,024 rows of train text. What the rows show is the loss on the
held-out part of it, and how far the answers move on 512 other rows of train text, without labels. There is one thread: seconds of
the processor are seconds of an idle machine. Keeps rows in models/NAME/results/distillation.json.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import onnx_ir as ir

from squeeze_onnx import OptimizeConfig, load_model
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.learning.training_loop import DistillConfig, batches_to_learn_on
from tools.held_out import Setting, Trial
from tools.held_out import keep as keep_rows
from tools.measuring import TASKS, Recorder, data_options, row_options

NAMES = ("minilm-l6", "minilm-l6-CoLA")


@dataclass(frozen=True)
class Lesson:
    """How the squeezed model learns: so many ``steps`` at the highest ``rate``, and so on."""

    steps: int
    rate: float
    hidden: float
    share: float


@click.command()
@data_options
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=NAMES)
@click.option("--keep", multiple=True, type=float, default=[0.33])
@click.option("--steps", multiple=True, type=int, default=[200])
@click.option("--rate", multiple=True, type=float, default=[5e-4, 3e-3])
@click.option("--hidden", multiple=True, type=float, default=[1.0, 10.0])
@click.option("--share", multiple=True, type=float, default=[0.0])
def main(glue: Path, models: Path, names: Sequence[str], recorder: Recorder, **asked: Any) -> None:
    """Measure, and keep rows in models/NAME/results/distillation.json."""
    for name in names:
        trial = Trial.of(models / name / "onnx", TASKS[name], glue)
        lessons = [Lesson(*values) for values in product(*(asked[each.name] for each in fields(Lesson)))]
        keep_rows(settings_of(trial, asked["keep"], lessons), recorder, name, "distillation", asked)


def settings_of(trial: Trial, budgets: Sequence[float], lessons: Sequence[Lesson]) -> Iterator[Setting]:
    """Yield the model squeezed to each of ``budgets``, and what each of ``lessons`` makes of it."""
    for budget in budgets:
        classroom = Classroom(trial, budget)
        yield Setting(f"keep {budget}, before", classroom.before)
        for lesson in lessons:
            label = (
                f"keep {budget}, {lesson.steps} steps, rate {lesson.rate}, hidden {lesson.hidden}, share {lesson.share}"
            )
            yield Setting(label, partial(classroom.after, lesson), learned=True)


@dataclass(frozen=True)
class Classroom:
    """The model of ``trial`` and the one squeezed to ``budget``, which learns from it."""

    trial: Trial
    budget: float

    @cached_property
    def squeezed(self) -> ir.Model:
        """The model before it learns."""
        fitted = batches_to_learn_on(self.trial.calibration, DistillConfig())
        survey = take_survey(Context(self.trial.dense, OptimizeConfig(simulations=1), fitted))
        model = load_model(self.trial.dense.path)
        plan = plan_for(Context(model, OptimizeConfig(keep=self.budget)), survey)
        return carry_out(Context(model, batches=fitted), plan, survey).model.ir

    def before(self) -> dict[str, Any]:
        """Return how far the answers of the squeezed model are."""
        return {"keep": self.budget, "steps": 0, "share": None, **self.trial.movement(self.squeezed)}

    def after(self, lesson: Lesson) -> dict[str, Any]:
        """Return the losses of ``lesson``, and how far the answers are after it."""
        student, dense = self.squeezed.clone(), self.trial.dense
        began = time.process_time()
        outcome = distill(
            student,
            dense.ir,
            Teaching(
                distillation_losses(dense.ir, head_of(dense), hidden_weight=lesson.hidden),
                self.trial.calibration,
                threads=1,
            ),
            DistillConfig(steps=lesson.steps, rate=lesson.rate, block_share=lesson.share),
        )
        return {
            "keep": self.budget,
            **asdict(lesson),
            "seconds": round(time.process_time() - began, 1),
            "starts": [loss for step, loss in outcome.history if step == 0],
            "loss": outcome.after,
            "best_step": outcome.best_step,
            "blocks": [[block.before, block.after] for block in outcome.blocks],
            **self.trial.movement(student),
        }


if __name__ == "__main__":
    main()
