"""What each ingredient of `whiten` is worth: added in turn, at every budget, on one model.

    python -m tools.bench_ablation --glue DIR [--model minilm-l6] [--row LABEL …]

Squeezes a reference model (built by tools/reference_models.py) step by step, scores each step at each budget on the whole dev
set of its task against the dense model, and keeps a row of models/NAME/results/ablation.json after each.
Nothing is tuned on the dev set; calibration is train text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.allocators import Allocator, Alternative, GlobalBudget, Uniform
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.planning import make_plan
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.slicing.heads import Contexts, Scores
from squeeze_onnx.compress.slicing.neurons import Neurons
from squeeze_onnx.compress.squeezing import carry_out
from squeeze_onnx.compress.survey import Survey, take_survey
from tools.measuring import (
    BUDGETS,
    DEV_ROWS,
    TASKS,
    Clock,
    Recorder,
    Shared,
    data_options,
    known_rows,
    row_options,
    score,
)
from tools.tolerances import of_answers


@dataclass(frozen=True)
class Step:
    """One row: the ingredients so far."""

    label: str
    method: str = "whiten"
    budgeted: bool = False
    probed: bool = False
    refit: bool = False
    sliced: tuple[type, ...] = ()
    shared: bool = False

    def allocator(self, survey: Survey, keep: float) -> Allocator:
        """Make the allocator of this step."""
        blocks = {name: block for name, block in survey.blocks.items() if isinstance(block, self.sliced)}
        alternatives: tuple[Alternative, ...] = slicings_of(survey.spectra, blocks)
        if self.shared:
            alternatives += survey.sharings
        return GlobalBudget(keep, alternatives) if self.budgeted else Uniform(keep)

    def survey(self, survey: Survey) -> Survey:
        """Return ``survey`` without what this step does not know."""
        if self.probed:
            return survey
        spectra = (replace(each, candidate=replace(each.candidate, sensitivity=1.0)) for each in survey.spectra)
        return replace(survey, spectra=tuple(spectra))


STEPS = (
    Step("truncated SVD, the same fraction of every weight", method="svd"),
    Step("+ whitening by the second moment of the inputs"),
    Step("+ one budget for all weights", budgeted=True),
    Step("+ measured sensitivity of the outputs to each weight", budgeted=True, probed=True),
    Step("+ sequential refit, biases and drift corrected", budgeted=True, probed=True, refit=True),
    Step("+ neurons of feed-forward blocks sliced", budgeted=True, probed=True, refit=True, sliced=(Neurons,)),
    Step(
        "+ heads of attention made thinner",
        budgeted=True,
        probed=True,
        refit=True,
        sliced=(Neurons, Scores, Contexts),
    ),
    Step(
        "+ left factors of query, key and value shared (`whiten`)",
        budgeted=True,
        probed=True,
        refit=True,
        sliced=(Neurons, Scores, Contexts),
        shared=True,
    ),
)


@click.command()
@data_options
@row_options
@click.option("--model", "name", type=click.Choice(list(TASKS)), default="minilm-l6", show_default=True)
def main(glue: Path, models: Path, name: str, recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/ablation.json."""
    task, bench = TASKS[name], Bench(models / name / "onnx", TASKS[name], glue)
    for step in STEPS:
        for keep in BUDGETS:
            if recorder.wants(label_of(step, keep)):
                with recorder.attempt(label_of(step, keep)):
                    shared, clock = bench.surveyed(step.method), Clock()
                    values = bench.measure(step, keep)
                    recorder.keep(
                        f"{name}/ablation",
                        label_of(step, keep),
                        ("tools.bench_ablation", "--model", name),
                        values,
                        of_answers(values, DEV_ROWS[task]),
                        seconds=clock.lap(),
                        shared=shared,
                    )


def label_of(step: Step, keep: float) -> str:
    """Return the label of the row."""
    return f"{step.label}, keep {keep}"


class Bench:
    """One model, its text, and the surveys of it so far."""

    def __init__(self, path: Path, task: str, glue: Path) -> None:
        self._path, self._task, self._glue = path, task, glue
        self._surveys: dict[str, tuple[Survey, Shared]] = {}
        self._text = load_calibration(load_model(path), CalibrationConfig(f"glue:{task}", glue))

    def surveyed(self, method: str) -> Shared:
        """Take the survey of ``method``, unless there is one; say what it took."""
        if method not in self._surveys:
            clock = Clock()
            survey = take_survey(
                Context(load_model(self._path), OptimizeConfig(method=method, simulations=1), self._text)
            )
            self._surveys[method] = survey, Shared(f"survey: {method}", clock.lap())
        return self._surveys[method][1]

    def measure(self, step: Step, keep: float) -> dict[str, Any]:
        """Return the score of ``step`` at the budget ``keep``."""
        survey = step.survey(self._surveys[step.method][0])
        plan = replace(
            make_plan(
                survey.spectra,
                step.allocator(survey, keep),
                method=step.method,
                budget={"keep": keep},
                above_break_even="leave",
                skipped=survey.skipped,
            ),
            refit=step.refit,
        )
        result = carry_out(Context(load_model(self._path), batches=self._text), plan, survey)
        return score(self._path, result, self._task, self._glue)


def markdown() -> Iterator[str]:
    """Yield the lines of one table a model."""
    for name, rows in known_rows("ablation"):
        values = {label: row.values for label, row in rows.items()}
        first = next(iter(values.values()))
        yield f"**{name}**, {TASKS[name]}, {first['metric']} (output cosine): dense {first['baseline']:.4f}"
        yield ""
        yield f"| | {' | '.join(f'keep {keep}' for keep in BUDGETS)} |"
        yield f"|---|{'---|' * len(BUDGETS)}"
        for step in STEPS:
            cells = (_cell(values.get(label_of(step, keep))) for keep in BUDGETS)
            yield f"| {step.label} | {' | '.join(cells)} |"
        yield ""


def _cell(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['candidate']:.4f} ({found['cosine_similarity']:.3f})"


if __name__ == "__main__":
    main()
