"""What a form of factors that the program does not write would be worth, by the forecast of its budgets.

    python -m tools.bench_forms --glue DIR [--model minilm-l6] [--row LABEL …]

Pivoted factors (PIFA, 2025): a matrix of rank r is r of its columns and what the others are made of them, so r² parameters fewer
than two factors have. Surveys a reference model as `whiten` does, spends each budget with the costs of both forms, and keeps the
summed errors that are predicted, in a row of models/NAME/results/forms.json: with neurons, heads and shared factors to choose
from, as users have them, and with nothing but ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import click
import numpy as np

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.allocators import Alternative, Candidate, Cost, GlobalBudget
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.survey import Survey, take_survey
from tools.measuring import TASKS, Clock, Recorder, Shared, data_options, row_options
from tools.rows import Tolerance

KEEPS = (0.5, 0.33, 0.25, 0.15)
ALLOWED = Tolerance(relative=0.05, why="5 %: moments differ in the last digits from machine to machine")


@dataclass(frozen=True)
class Pivoted(Candidate):
    """A site whose factors take r(in + out − r) parameters at rank r."""

    def parameters(self, rank: int) -> int:
        """Parameters with ``rank`` components kept."""
        return int(self._costs(np.array([rank]))[0])

    def factored_costs(self, ranks: np.ndarray, cost: Cost) -> np.ndarray:
        """What pivoted factors of each of ``ranks`` cost, in parameters."""
        return self._costs(ranks)

    def _costs(self, ranks: np.ndarray) -> np.ndarray:
        rows, columns = self.spectrum.shape
        total = np.maximum(ranks + self.extra_rank, 1)
        return np.asarray(total * (rows + columns - total))


def label_of(keep: float) -> str:
    """Return the label of the row."""
    return f"pivoted factors, keep {keep}"


def predicted(survey: Survey, candidates: Sequence[Candidate], keep: float, *, all_forms: bool) -> float:
    """Return the summed error that the budget ``keep`` is predicted to have."""
    slices: tuple[Alternative, ...] = slicings_of(survey.spectra, survey.blocks)
    together = slices + survey.sharings if all_forms else ()
    return GlobalBudget(keep, together).forecast(candidates, (keep,))[0].output_error


@click.command()
@data_options
@row_options
@click.option("--model", "name", type=click.Choice(list(TASKS)), default="minilm-l6", show_default=True)
def main(glue: Path, models: Path, name: str, recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/forms.json."""
    clock, model = Clock(), load_model(models / name / "onnx")
    text = load_calibration(model, CalibrationConfig(f"glue:{TASKS[name]}", glue))
    survey = take_survey(Context(model, OptimizeConfig(method="whiten", simulations=1), text))
    shared = Shared("survey: whiten", clock.lap())
    factors = [each.candidate for each in survey.spectra]
    pivoted = [Pivoted(**{key.name: getattr(each, key.name) for key in fields(each)}) for each in factors]
    for keep in KEEPS:
        if recorder.wants(label_of(keep)):
            values = {
                what: {
                    form: predicted(survey, candidates, keep, all_forms=what == "all_forms")
                    for form, candidates in (("factors", factors), ("pivoted", pivoted))
                }
                for what in ("all_forms", "ranks_only")
            }
            drifts = {f"{what}.{form}": ALLOWED for what, found in values.items() for form in found}
            recorder.keep(
                f"{name}/forms",
                label_of(keep),
                ("tools.bench_forms", "--model", name),
                values,
                drifts,
                seconds=clock.lap(),
                shared=shared,
            )


if __name__ == "__main__":
    main()
