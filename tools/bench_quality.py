"""Methods × budgets × models × tasks: what each costs in size and quality.

    python -m tools.bench_quality run --glue DIR [--model minilm-l6 …] [--run whiten …]
    python -m tools.bench_quality table

``run`` squeezes the reference models (built by tools/reference_models.py), scores each on the whole dev set of its task against
the dense model, and writes models/NAME/results/quality.json, a row after each run, and the plans of `whiten` to
models/NAME/plans. ``table`` makes tables of those files, between their markers in docs/results.md and README.
Nothing is tuned on the dev set: budgets are fixed here, calibration is train text.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import click

from squeeze_onnx import CalibrationConfig, OptimizeConfig, ValidateConfig, load_calibration, load_model, validate
from squeeze_onnx.compress.calibration_source import TO_CALIBRATE, TO_IMITATE
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.precision import PRECISIONS
from squeeze_onnx.compress.squeezing import squeeze_surveyed
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.support.stopwatch import Stopwatch
from squeeze_onnx.workflows.optimize import write_folder
from tools.measuring import BUDGETS, ROOT, TASKS, data_options, known_results, page_option, results_path
from tools.readme_tables import put_table

FFN = ("ffn_in", "ffn_out")
EMBEDDED = ("stsb",)
"""The tasks that are scored on embeddings here, for which ``auto`` is `whiten`; for classes it is `fisher`."""


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    label: str
    options: Mapping[str, Any]
    rows: int = TO_CALIBRATE.rows

    @property
    def config(self) -> OptimizeConfig:
        """What is asked for; the p-values of `analyze` do not matter here, so one simulation does."""
        return OptimizeConfig(**self.options, simulations=1)

    @property
    def survey(self) -> tuple[object, ...]:
        """Runs that agree in this can share a survey of the model."""
        return self.options["method"], self.options.get("preset"), self.config.sliced, self.rows


CLASSIFIERS = ("minilm-l6-MRPC", "minilm-l6-SST-2", "minilm-l6-CoLA")
"""The fine-tuned models that means over tasks are of."""

TRUNCATION = {"method": "whiten", "slice_neurons": False, "thin_heads": False, "joint_qkv": False, "refit": False}
"""`whiten` as a truncated SVD in another metric under one budget, with nothing sliced, shared or regressed."""

TAUGHT = (0.5, 0.33, 0.25)
"""The budgets that distillation is measured at; on half the text too, beside what it starts from on that."""

RUNS = (
    Run("SQUEEZE to the letter: every weight at its 95 % edge", {"method": "squeeze"}),
    Run("SQUEEZE, FFN only, effective rank −64 %", {"method": "squeeze", "preset": "paper-ffn"}),
    Run("SQUEEZE, file −8.1 %", {"method": "squeeze", "preset": "paper-size"}),
    *(Run(f"SQUEEZE, keep {keep}", {"method": "squeeze", "keep": keep}) for keep in BUDGETS),
    *(Run(f"SVD, keep {keep}", {"method": "svd", "keep": keep}) for keep in BUDGETS),
    *(Run(f"whiten, truncation only, keep {keep}", TRUNCATION | {"keep": keep}) for keep in BUDGETS),
    *(Run(f"whiten, keep {keep}", {"method": "whiten", "keep": keep}) for keep in BUDGETS),
    *(Run(f"fisher, keep {keep}", {"method": "fisher", "keep": keep}) for keep in BUDGETS),
    *(
        Run(f"fisher, int4, keep {keep}", {"method": "fisher", "keep": keep, "precision": "int4"})
        for keep in (0.75, 0.5)
    ),
    Run("soco, 1,024 rows, keep 0.5", {"method": "soco", "keep": 0.5}),
    *(Run(f"soco, keep {keep}", {"method": "soco", "keep": keep}, rows=TO_IMITATE.rows) for keep in BUDGETS),
    *(Run(f"auto, 4,096 rows, keep {keep}", {"method": "auto", "keep": keep}, rows=4096) for keep in TAUGHT),
    *(
        Run(f"distilled, 4,096 rows, keep {keep}", {"method": "auto", "keep": keep, "distill": "auto"}, rows=4096)
        for keep in TAUGHT
    ),
    *(
        Run(f"distilled, keep {keep}", {"method": "auto", "keep": keep, "distill": "auto"}, rows=TO_IMITATE.rows)
        for keep in TAUGHT
    ),
    *(
        Run(f"whiten, {precision}, keep 0.5", {"method": "whiten", "keep": 0.5, "precision": precision})
        for precision in PRECISIONS
        if precision != "fp32"
    ),
)

KEPT_PLANS = {f"{method}, keep {keep}": f"{method}-{keep}" for method in ("whiten", "fisher") for keep in BUDGETS}
"""Runs whose plans stay in models/NAME/plans, to be applied again or to a model of the same architecture."""


@click.group()
def main() -> None:
    """Measure, and make tables of what was measured."""


@main.command()
@data_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), help="Only these models.")
@click.option("--run", "wanted", multiple=True, help="Only runs whose label contains this.")
def run(glue: Path, models: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Measure, and write models/NAME/results/quality.json."""
    for name in names or TASKS:
        results = results_path(name, "quality")
        results.parent.mkdir(parents=True, exist_ok=True)
        rows = json.loads(results.read_text())["rows"] if results.exists() else {}
        jobs = [job for job in RUNS if not wanted or any(text in job.label for text in wanted)]
        for _, group in groupby(jobs, key=lambda job: job.survey):
            for label, row, plan in measure(models / name / "onnx", TASKS[name], list(group), glue):
                rows[label] = row
                if label in KEPT_PLANS:
                    kept = ROOT / "models" / name / "plans" / f"{KEPT_PLANS[label]}.json"
                    kept.parent.mkdir(exist_ok=True)
                    kept.write_text(json.dumps(plan, indent=1) + "\n")
                ordered = {known.label: rows[known.label] for known in RUNS if known.label in rows}
                command = f"python -m tools.bench_quality run --glue DIR --model {name}"
                results.write_text(
                    json.dumps({"task": TASKS[name], "command": command, "rows": ordered}, indent=1) + "\n"
                )
                click.echo(f"{name}: {label}: {row['candidate']:.4f}")


def measure(
    path: Path, task: str, jobs: Sequence[Run], glue: Path
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Survey the model at ``path`` once; squeeze it as each of ``jobs`` says and score it on ``task``.

    Yields label, row and plan.
    """
    dense = load_model(path)
    method = jobs[0].config.method
    data_aware = method == "auto" or METHODS[method].needs_calibration
    source = CalibrationConfig(f"glue:{task}", glue, rows=jobs[0].rows)
    calibration = load_calibration(dense, source) if data_aware else ()
    survey = take_survey(dense, jobs[0].config, calibration)
    for job in jobs:
        model = load_model(path)
        result = squeeze_surveyed(model, survey, job.config, calibration)
        with tempfile.TemporaryDirectory() as folder:
            report = write_folder(
                result, Path(folder), job.config, measure_size(dense), Stopwatch(), batches=calibration
            )
            scored = validate(path, folder, ValidateConfig(task=task, data=glue, latency_rounds=1)).to_json()
        yield job.label, _row(job, report, scored), result.plan.to_json()


def _row(job: Run, report: Mapping[str, Any], scored: Mapping[str, Any]) -> dict[str, Any]:
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
        "packages": report["environment"]["packages"],
    }


def _effective_rank_reduction(site: Mapping[str, Any]) -> float:
    spectrum = site["spectrum"]
    return 1 - float(spectrum["effective_rank_after"]) / float(spectrum["effective_rank"])


@main.command()
@page_option
def table(page: Path) -> None:
    """Put the measured tables between their markers in docs/results.md, and the headline into the README."""
    put_table(page, "quality", markdown())
    put_table(page, "classes", classes())
    put_table(ROOT / "README.md", "headline", headline())


def markdown() -> Iterator[str]:
    """Yield the lines of one table a model."""
    for name, rows in known_results("quality"):
        first = next(iter(rows.values()))
        yield f"**{name}**, {TASKS[name]}, {first['metric']}: dense {first['baseline']:.4f}"
        yield ""
        columns = ("drop in points (95 % interval)", "output cosine", "same predictions", "eligible kept", "file")
        yield f"| | {first['metric']} | {' | '.join(columns)} | FFN: effective rank, weight cosine |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_line(label, row) for label, row in rows.items())
        yield ""


def classes() -> Iterator[str]:
    """Yield the lines of one table of means over `CLASSIFIERS`, of what was measured on all of them."""
    known = dict(known_results("quality"))
    yield f"| means over {', '.join(CLASSIFIERS)} | {' | '.join(f'keep {keep}' for keep in TAUGHT)} |"
    yield f"|---|{'---|' * len(TAUGHT)}"
    for family in ("whiten", "fisher", "distilled"):
        cells = (_mean([known[name].get(f"{family}, keep {keep}") for name in CLASSIFIERS]) for keep in TAUGHT)
        yield f"| {family} | {' | '.join(cells)} |"


def _mean(rows: Sequence[Mapping[str, Any] | None]) -> str:
    found = [row for row in rows if row is not None]
    if len(found) < len(rows):
        return "–"
    drop, agreement = (mean(row[key] for row in found) for key in ("drop_points", "agreement"))
    return f"drop {drop:.2f}, {100 * agreement:.1f} % the same"


def headline() -> Iterator[str]:
    """Yield the lines of one table of all models that were squeezed by what ``auto`` stands for, a model a line."""
    taught, plain = "distilled, keep 0.33", "SVD, keep 0.5"
    titles = [*(f"keep {keep}" for keep in BUDGETS), taught, plain]
    yield f"| | dense | by | {' | '.join(titles)} |"
    yield f"|---|---|---|{'---|' * len(titles)}"
    for name, rows in known_results("quality"):
        method = "whiten" if TASKS[name] in EMBEDDED else "fisher"
        labels = [f"{method}, keep {keep}" for keep in BUDGETS]
        if rows.keys() & set(labels):
            first = next(iter(rows.values()))
            taught_on_half = rows.get("distilled, 4,096 rows, keep 0.33")
            found = [*map(rows.get, labels), rows.get(taught, taught_on_half), rows.get(plain)]
            cells = ("–" if row is None else _score(row) for row in found)
            task = f"{TASKS[name]} {first['metric']}"
            yield f"| {name}, {task} | {first['baseline']:.4f} | {method} | {' | '.join(cells)} |"


def _score(row: Mapping[str, Any]) -> str:
    low, high = row["drop_interval"]
    return f"{row['candidate']:.4f} (drop {row['drop_points']:.2f}: {low:.2f} … {high:.2f})"


def _line(label: str, row: Mapping[str, Any]) -> str:
    size = row["size"]
    low, high = row["drop_interval"]
    ffn = "–"
    if row["ffn_weight_cosine"] is not None:
        ffn = f"−{100 * row['ffn_effective_rank_reduction']:.0f} %, {row['ffn_weight_cosine']:.2f}"
    cells = (
        label,
        f"{row['candidate']:.4f}",
        f"{row['drop_points']:.2f} ({low:.2f} … {high:.2f})",
        f"{row['cosine_similarity']:.3f}",
        "–" if row["agreement"] is None else f"{100 * row['agreement']:.1f} %",
        f"{100 * size['kept_eligible_parameters'] / size['eligible_parameters']:.1f} %",
        f"−{100 * (1 - size['optimized_bytes'] / size['baseline_bytes']):.1f} %",
        ffn,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
