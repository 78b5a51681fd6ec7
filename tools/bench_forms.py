"""What forms of weights that the program does not write would be worth.

    python -m tools.bench_forms --glue DIR [--model minilm-l6] [--row LABEL …]

Pivoted factors (PIFA, 2025): a matrix of rank r is r of its columns and what the others are made of them, so r² parameters fewer
than two factors have. Surveys a reference model as `whiten` does, spends each budget with the costs of both forms, and keeps the
summed errors that are predicted, in a row of models/NAME/results/forms.json: with neurons, heads and shared factors to choose
from, as users have them, and with nothing but ranks.

The forms of `tools.other_forms` are held against two factors weight by weight: the share of all layers' outputs, by energy, that
each loses at equal bytes. Their rows hold that by the share of bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import click
import numpy as np

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.allocators import Alternative, Candidate, Cost, GlobalBudget
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.compress.weights import read_weight
from tools.measuring import TASKS, Clock, Recorder, Shared, data_options, row_options
from tools.other_forms import FLOAT, FORMS, Grouped
from tools.row_files import rows_of
from tools.rows import Row, Tolerance

SHARES = (0.5, 0.33, 0.25)

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


def lost(survey: Survey, grouped: Grouped, bytes_a_number: float) -> float:
    """Return the share of the outputs' energy that a form loses where the numbers of a weight have so many bytes on average."""
    groups: dict[tuple[str, int], list[SiteSpectra]] = {}
    for each in survey.spectra:
        layer = each.site.layer
        if layer is not None:
            groups.setdefault((str(each.site.role), layer // grouped.layers), []).append(each)
    errors, energy = 0.0, 0.0
    for sites in groups.values():
        weights = [read_weight(each.site) for each in sites]
        roots = [survey.moments[each.site.name].weigh(np.eye(each.site.in_features)) for each in sites]
        errors += sum(grouped.form(weights, roots, bytes_a_number * sum(weight.size for weight in weights)))
        energy += sum(float(np.sum(np.square(root @ weight))) for root, weight in zip(roots, weights, strict=True))
    return errors / energy


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
    for label, grouped in FORMS.items():
        if recorder.wants(label):
            shares = {f"{100 * share:g}": lost(survey, grouped, FLOAT * share) for share in SHARES}
            drifts = {f"lost.{share}": ALLOWED for share in shares}
            command = ("tools.bench_forms", "--model", name)
            recorder.keep(f"{name}/forms", label, command, {"lost": shares}, drifts, seconds=clock.lap(), shared=shared)


def weighed_rows() -> list[Row]:
    """Return the rows of the forms that are held against factors weight by weight."""
    rows = rows_of("minilm-l6", "forms")
    return [rows[label] for label in FORMS if label in rows]


def markdown() -> Iterator[str]:
    """Yield the lines of their tables."""
    yield f"| form | {' | '.join(f'{100 * share:g} % of the bytes' for share in SHARES)} |"
    yield f"|---|{'---:|' * len(SHARES)}"
    for row in weighed_rows():
        yield f"| {row.label} | {' | '.join(f'{value:.4f}' for value in row.values['lost'].values())} |"


if __name__ == "__main__":
    main()
