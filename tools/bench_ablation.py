"""What each ingredient of `whiten` is worth: added in turn, at every budget, on one model.

    python -m tools.bench_ablation run --glue DIR [--model minilm-l6]
    python -m tools.bench_ablation table

``run`` squeezes a reference model (built by tools/reference_models.py) step by step, scores each step on the whole dev set of its
task against the dense model, and writes models/NAME/results/ablation.json. ``table`` puts them into the README.
Nothing is tuned on the dev set; calibration is train text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.allocators import Allocator, Alternative, GlobalBudget, Uniform
from squeeze_onnx.compress.planning import make_plan
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.slicing.heads import Contexts, Scores
from squeeze_onnx.compress.slicing.neurons import Neurons
from squeeze_onnx.compress.squeezing import carry_out
from squeeze_onnx.compress.survey import Survey, take_survey
from tools.measuring import BUDGETS, ROOT, TASKS, data_options, known_results, results_path, score
from tools.readme_tables import put_table


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


@click.group()
def main() -> None:
    """Measure, and make the table of what was measured."""


@main.command()
@data_options
@click.option("--model", "name", type=click.Choice(list(TASKS)), default="minilm-l6", show_default=True)
@click.option(
    "--step", "wanted", multiple=True, help="Only steps whose label contains this; the others stay as they are."
)
def run(glue: Path, models: Path, name: str, wanted: Sequence[str]) -> None:
    """Measure, and write models/NAME/results/ablation.json."""
    results = results_path(name, "ablation")
    known = json.loads(results.read_text())["rows"] if results.exists() else {}
    steps = [step for step in STEPS if not wanted or any(text in step.label for text in wanted)]
    for label, keep, row in measure(models / name / "onnx", TASKS[name], glue, steps):
        known.setdefault(label, {})[str(keep)] = row
        rows = {step.label: known[step.label] for step in STEPS if step.label in known}
        command = f"python -m tools.bench_ablation run --glue DIR --model {name}"
        results.write_text(json.dumps({"task": TASKS[name], "command": command, "rows": rows}, indent=1) + "\n")
        click.echo(f"{name}: {label}, keep {keep}: {row['candidate']:.4f}")


def measure(path: Path, task: str, glue: Path, steps: Sequence[Step]) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield label, budget and score of each of ``steps``."""
    calibration = load_calibration(load_model(path), CalibrationConfig(f"glue:{task}", glue))
    configs = {method: OptimizeConfig(method=method, simulations=1) for method in {step.method for step in steps}}
    surveys = {method: take_survey(load_model(path), config, calibration) for method, config in configs.items()}
    for step in steps:
        for keep in BUDGETS:
            survey = step.survey(surveys[step.method])
            plan = make_plan(
                survey.spectra,
                step.allocator(survey, keep),
                method=step.method,
                budget={"keep": keep},
                above_break_even="leave",
                skipped=survey.skipped,
                refit=step.refit,
            )
            result = carry_out(load_model(path), plan, survey, calibration)
            yield step.label, keep, score(path, result, task, glue)


@main.command()
def table() -> None:
    """Put the table between its markers in the README, from where docs/results.md takes it."""
    put_table(ROOT / "README.md", "ablation", markdown())


def markdown() -> Iterator[str]:
    """Yield the lines of one table a model."""
    for name, rows in known_results("ablation"):
        first = next(iter(next(iter(rows.values())).values()))
        yield f"**{name}**, {TASKS[name]}, {first['metric']} (output cosine): dense {first['baseline']:.4f}"
        yield ""
        yield f"| | {' | '.join(f'keep {keep}' for keep in BUDGETS)} |"
        yield f"|---|{'---|' * len(BUDGETS)}"
        yield from (_line(label, row) for label, row in rows.items())
        yield ""


def _line(label: str, row: Mapping[str, Any]) -> str:
    cells = (f"{row[str(keep)]['candidate']:.4f} ({row[str(keep)]['cosine_similarity']:.3f})" for keep in BUDGETS)
    return f"| {label} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
