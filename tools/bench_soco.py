"""What each part of SoCo is worth, at equal size, on one model.

    python -m tools.bench_soco --glue DIR [--model minilm-l6] [--rows 1024] [--row LABEL ...]

Squeezes a reference model (built by tools/reference_models.py) one way after another, scores each on the whole dev set of its
task against the dense model, and keeps a row of models/NAME/results/soco.json after each.
Nothing is tuned on the dev set; calibration is train text.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, OptimizeConfig, load_calibration, load_model
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.soco.learn import SOCO_HIDDEN_WEIGHT, SocoConfig, learn_spectra
from squeeze_onnx.compress.soco.stages import STAGES, StageName
from squeeze_onnx.compress.squeezing import carry_out, distilled, plan_for
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.compress.validation_text import text_to_learn_on
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.teaching import Teaching
from tools.measuring import (
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

KEEP = 0.5
OTHER_SIZES = (0.75, 0.33)
WHOLE = "`whiten`, whole"


@dataclass(frozen=True)
class Row:
    """What is learned, for the size ``learned_for``, and what follows.

    ``probed`` starts from the sensitivities that `whiten` measures, ``plain`` from the plain singular value decomposition.
    """

    learned: SocoConfig = field(default_factory=SocoConfig)
    learned_for: float = KEEP
    keep: float = KEEP
    probed: bool = False
    plain: bool = False
    refit: bool = False
    distill: int | None = None

    @property
    def learning(self) -> tuple[object, ...]:
        """Rows that agree in this share what is learned."""
        return self.learned, self.learned_for, self.probed, self.plain, bool(self.distill)


def without(stage: StageName) -> Row:
    """Return the row with all stages but this one."""
    return Row(SocoConfig(stages=tuple(name for name in STAGES if name != stage)))


ROWS: dict[str, Row] = {
    "`whiten`, truncation only": Row(SocoConfig(stages=()), probed=True),
    "S untrained": Row(SocoConfig(stages=())),
    "SVS: S rescales what `whiten`, truncation only, keeps": Row(
        SocoConfig(stages=("sparsification",), deviation=False), probed=True
    ),
    "`soco`": Row(),
    "without stage 1, compression": without("compression"),
    "without stage 2, alternation": without("alternation"),
    "without stage 3, sparsification": without("sparsification"),
    "without the deviation": Row(SocoConfig(deviation=False)),
    "in the paper's plain SVD": Row(plain=True),
    "`soco`, its ranks refitted": Row(refit=True),
    "`soco`, then `--distill 600`": Row(distill=600),
    **{f"`soco` for keep {keep}": Row(learned_for=keep, keep=keep) for keep in OTHER_SIZES},
    **{f"ACIP: the map of keep {KEEP} cut at {keep}": Row(keep=keep) for keep in OTHER_SIZES},
}


@click.command()
@data_options
@row_options
@click.option("--model", "name", type=click.Choice(list(TASKS)), default="minilm-l6", show_default=True)
@click.option("--rows", default=1024, show_default=True, help="Sentences or pairs to learn on.")
@click.option("--most-steps", default=SocoConfig.most_steps, show_default=True, help="End of every run of learning.")
def main(*, glue: Path, models: Path, name: str, rows: int, most_steps: int, recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/soco.json."""
    clock = Clock()
    bench = Bench(models / name / "onnx", TASKS[name], glue, rows=rows, most_steps=most_steps)
    shared = Shared("survey: whiten", clock.lap())
    shorter = () if most_steps == SocoConfig.most_steps else ("--most-steps", str(most_steps))
    command = ("tools.bench_soco", "--model", name, "--rows", str(rows), *shorter)
    for label in (WHOLE, *ROWS):
        if recorder.wants(label):
            with recorder.attempt(label):
                values = bench.measure(label)
                recorder.keep(
                    f"{name}/soco",
                    label,
                    command,
                    values,
                    of_answers(values, DEV_ROWS[TASKS[name]], learned=label != WHOLE),
                    seconds=max(clock.lap(), values["seconds"]),  # what was learned for another row took its time too
                    shared=shared,
                )


class Bench:
    """One model, its text, and what was learned of it so far."""

    def __init__(self, path: Path, task: str, glue: Path, *, rows: int, most_steps: int) -> None:
        self._path, self._task, self._glue, self._most_steps = path, task, glue, most_steps
        self._dense = load_model(path)
        self._text = load_calibration(self._dense, CalibrationConfig(f"glue:{task}", glue, rows))
        self._base = take_survey(Context(self._dense, _config(slice_neurons=False, thin_heads=False), self._text))
        self._learned: dict[tuple[object, ...], Survey] = {}

    def measure(self, label: str) -> dict[str, Any]:
        """Squeeze and score one row."""
        if label == WHOLE:
            survey, config = take_survey(Context(self._dense, _config(), self._text)), _config(keep=KEEP)
        else:
            row = ROWS[label]
            survey = self._learned.get(row.learning) or self._learned.setdefault(row.learning, self._learn(row))
            config = OptimizeConfig(method="soco", keep=row.keep, refit=row.refit, distill=row.distill)
        model = load_model(self._path)
        result = carry_out(Context(model, batches=self._text), plan_for(Context(model, config), survey), survey)
        if config.distill:
            result = distilled(Context(self._dense, config, self._text), result)
        return {
            **score(self._path, result, self._task, self._glue),
            "seconds": survey.timing.get("learning", 0.0),
            "stages": [stage.to_json() for stage in survey.stages],
        }

    def _learn(self, row: Row) -> Survey:
        """Return the survey that `soco` takes, with the learning of ``row``."""
        base, began = self._base, time.monotonic()
        if not row.probed:
            spectra = (replace(each, candidate=replace(each.candidate, sensitivity=1.0)) for each in base.spectra)
            base = replace(base, spectra=tuple(spectra))
        learning = learn_spectra(
            self._dense.ir,
            base.spectra,
            METHODS["svd" if row.plain else "whiten"].weighting_of(base.moments),
            Teaching(
                distillation_losses(self._dense.ir, head_of(self._dense), hidden_weight=SOCO_HIDDEN_WEIGHT),
                text_to_learn_on(self._text, OptimizeConfig(distill=row.distill)),
            ),
            keep=row.learned_for,
            config=replace(row.learned, most_steps=self._most_steps),
        )
        pairs = zip(base.spectra, learning.candidates, strict=True)
        return replace(
            base,
            method="soco",
            sharings=(),
            spectra=tuple(replace(measured, candidate=candidate) for measured, candidate in pairs),
            timing={"learning": time.monotonic() - began},
            learned=learning.spectra,
            stages=learning.stages,
        )


def _config(**options: Any) -> OptimizeConfig:
    return OptimizeConfig(method="whiten", simulations=1, **options)


def markdown() -> Iterator[str]:
    """Yield the lines of one table a model."""
    for name, rows in known_rows("soco"):
        values = {label: rows[label].values for label in (WHOLE, *ROWS) if label in rows}
        first = next(iter(values.values()))
        yield f"**{name}**, {TASKS[name]}: dense {first['baseline']:.4f}"
        yield ""
        yield f"| | kept | {first['metric']} | output cosine | steps |"
        yield "|---|---|---|---|---|"
        yield from (_line(label, found) for label, found in values.items())
        yield ""


def _line(label: str, row: Mapping[str, Any]) -> str:
    steps = " + ".join(str(stage["steps"]) for stage in row["stages"])
    return f"| {label} | {row['kept']:.3f} | {row['candidate']:.4f} | {row['cosine_similarity']:.3f} | {steps or '0'} |"


if __name__ == "__main__":
    main()
