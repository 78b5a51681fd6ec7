"""Methods × budgets × models × tasks: what each costs in size and quality.

    python -m tools.bench_quality --glue DIR [--model minilm-l6 …] [--row "whiten, keep 0.5" …]

Squeezes the reference models (built by tools/reference_models.py) as `optimize` does, scores what it wrote on the whole dev set
of the task against the dense model, and keeps a row of models/NAME/results/quality.json after each, and the plans of `whiten`
and `fisher` in models/NAME/plans. Rows of one survey share it through a cache, as a user's would with ``--cache``.
Nothing is tuned on the dev set: budgets are fixed in `tools.quality_runs`, calibration is train text.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, ValidateConfig, optimize, validate
from tools.measuring import BUDGETS, DEV_ROWS, TASKS, Clock, Recorder, Shared, data_options, row_options
from tools.quality_runs import RUNS, Run
from tools.rows import Tolerance
from tools.tolerances import BYTES, of_answers

FFN = ("ffn_in", "ffn_out")

SURVEYED = ("sites", "calibration", "fisher", "blocks", "spectra", "sensitivity", "sharing", "learning", "objective")
"""The stages that a survey takes, and that are done once for all rows that share it."""

KEPT_PLANS = {f"{method}, keep {keep}": f"{method}-{keep}" for method in ("whiten", "fisher") for keep in BUDGETS}
"""Rows whose plans stay in models/NAME/plans, to be applied again or to a model of the same architecture."""


@click.command()
@data_options
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), help="Only these models.")
def main(glue: Path, models: Path, names: Sequence[str], recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/quality.json."""
    for name in names or TASKS:
        jobs = [job for job in RUNS if recorder.wants(job.label)]
        for shares, group in groupby(jobs, key=lambda job: job.shares):
            with tempfile.TemporaryDirectory() as scratch:
                bench = Bench(models / name / "onnx", TASKS[name], glue, Path(scratch), shares)
                for job in group:
                    with recorder.attempt(job.label):
                        bench.measure(name, job, recorder)


@dataclass
class Bench:
    """The model at ``path``, its task, and a folder for the survey that rows share; ``shared``: what that took."""

    path: Path
    task: str
    glue: Path
    scratch: Path
    shares: str
    shared: Shared | None = None

    def measure(self, name: str, job: Run, recorder: Recorder) -> None:
        """Squeeze as ``job`` says, score what was written, and keep the row."""
        clock, out = Clock(), self.scratch / "out"
        text = CalibrationConfig(f"glue:{self.task}", self.glue, rows=job.rows) if job.data_aware else None
        report = optimize(self.path, out, job.config, calibration=text, cache=self.scratch / "cache", force=True)
        asked = ValidateConfig(task=self.task, data=self.glue, latency_rounds=1, threads=recorder.threads)
        values, seconds = values_of(job, report, validate(self.path, out, asked).to_json()), clock.lap()
        if self.shared is None:
            self.shared = Shared(self.shares, sum(report["timing"].get(stage, 0.0) for stage in SURVEYED))
            seconds -= self.shared.seconds
        if job.label in KEPT_PLANS:
            plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
            recorder.attach(f"models/{name}/plans/{KEPT_PLANS[job.label]}.json", json.dumps(plan, indent=1) + "\n")
        command = ("tools.bench_quality", "--model", name)
        allowed = tolerance(values, job, self.task)
        place = f"{name}/quality"
        recorder.keep(place, job.label, command, values, allowed, seconds=seconds, shared=self.shared)


def tolerance(values: Mapping[str, Any], job: Run, task: str) -> dict[str, Tolerance]:
    """Return how far the row may drift: its score, its answers and its bytes."""
    return {**of_answers(values, DEV_ROWS[task], learned=job.learned), "size.optimized_bytes": BYTES}


def values_of(job: Run, report: Mapping[str, Any], scored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says: of ``report`` of `optimize` and of ``scored`` of `validate`."""
    metric = scored["primary_metric"]
    ffn = [site for site in report["sites"] if site["treatment"] != "dense" and site["role"] in FFN]
    return {
        "options": dict(job.options),
        "calibration_rows": job.rows,
        "metric": metric,
        **scored["metrics"][metric],
        "metrics": scored["metrics"],
        "cosine_similarity": scored["cosine_similarity"],
        "agreement": scored["agreement"],
        "mean_kl": scored["mean_kl"],
        "size": report["size"],
        "timing": report["timing"],
        "ffn_effective_rank_reduction": mean(_effective_rank_reduction(site) for site in ffn) if ffn else None,
        "ffn_weight_cosine": mean(site["weight_cosine"] for site in ffn) if ffn else None,
    }


def _effective_rank_reduction(site: Mapping[str, Any]) -> float:
    spectrum = site["spectrum"]
    return 1 - float(spectrum["effective_rank_after"]) / float(spectrum["effective_rank"])


if __name__ == "__main__":
    main()
