"""``squeeze-onnx optimize``."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_options
from squeeze_onnx.cli.models import MODEL, from_hub
from squeeze_onnx.cli.optimize_options import FIRST_SCREEN, SECTIONS, optimize_options
from squeeze_onnx.cli.sections import SectionedCommand


@dataclass(frozen=True)
class _Asked:
    """What is asked for beside the configuration: the gate, text, and where things go."""

    max_drop: float | None
    target_latency: float | None
    plan_path: Path | None
    calibration: str | None
    columns: str | None
    metrics: tuple[str, ...]
    task: str | None
    data: str | None
    calibration_rows: int | None
    max_tokens: int | None
    tokenizer: Path | None
    checkpoint: Path | None
    checkpoint_minutes: float
    cache: Path | None
    scheduler: str | None
    force: bool
    json_path: Path | None
    quiet: bool
    verbose: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Self:
        """Take these out of the ``options`` of the command."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls)})

    def scoring(self) -> list[str]:
        """Return the options of `validate` that score what was written by what was given here."""
        columns = ("--columns", self.columns) if self.columns is not None else ()
        if self.task is not None:
            return ["--task", self.task, *(("--data", self.data) if self.data is not None else ())]
        if self.data is None:
            return []
        return ["--data", self.data, *columns, *(word for metric in self.metrics for word in ("--metric", metric))]


@click.command(cls=SectionedCommand, sections=SECTIONS, first_screen=FIRST_SCREEN)
@click.argument("model", type=MODEL)
@optimize_options
@verbosity_options
@from_hub("model")
def optimize(
    model: Path,
    out: Path,
    **options: Any,
) -> None:
    """Write to OUT a smaller MODEL: the weights truncated, their MatMuls rewritten as two thin ones.

    MODEL is an .onnx file, a folder with model.onnx, there or in its subfolder onnx, or hf://org/name[@revision], which is
    fetched. OUT has the same layout: model.onnx, tokenizer, configuration and what else a loader needs; and plan.json,
    report.json and report.html. Exit status 1 says that no smaller model passes --max-drop, or that the finished one answers
    far from what was predicted; then nothing is written.
    """
    from squeeze_onnx.cli.data_lines import calibration_line, columns_of_text, own_text
    from squeeze_onnx.cli.next_lines import after_optimization
    from squeeze_onnx.cli.optimization_lines import optimization_lines
    from squeeze_onnx.cli.reading_lines import repository_line
    from squeeze_onnx.cli.search_lines import grade_line
    from squeeze_onnx.cli.writing import refuse_overwriting_models, write_json
    from squeeze_onnx.compress.calibration_source import TASK_PREFIX, CalibrationConfig
    from squeeze_onnx.compress.config import OptimizeConfig
    from squeeze_onnx.compress.plan_reading import read_plan
    from squeeze_onnx.integrations.dask import workers
    from squeeze_onnx.learning.checkpoints import CheckpointConfig
    from squeeze_onnx.support.errors import OptionError
    from squeeze_onnx.workflows.gate import GateConfig
    from squeeze_onnx.workflows.optimize import optimize as run
    from squeeze_onnx.workflows.search import optimize_within

    asked = _Asked.taken_from(options)
    options = _with_target_latency(options, asked.target_latency)
    _refuse_contradictions(options, max_drop=asked.max_drop, plan=asked.plan_path, checkpoint=asked.checkpoint)
    source = asked.calibration or (f"{TASK_PREFIX}{asked.task}" if asked.task else None)
    rows, gated = asked.calibration_rows, asked.max_drop is not None
    if asked.data is not None and source is None:
        source, rows = own_text(asked.data, asked.columns, rows, gated=gated)
    refuse_overwriting_models([model] if asked.json_path else [], asked.json_path)
    config = OptimizeConfig(**options)
    state = CheckpointConfig(
        (asked.checkpoint or out.parent) / f"{out.name}.distillation.npz", asked.checkpoint_minutes
    )
    reading: dict[str, Any] = {"max_tokens": asked.max_tokens, "tokenizer": asked.tokenizer}
    own: dict[str, Any] = {"metrics": asked.metrics, "columns": None if asked.task else asked.columns}
    gate = GateConfig(asked.max_drop, asked.task, asked.data, **own, **reading) if asked.max_drop is not None else None
    text_columns = columns_of_text(asked.columns, asked.calibration, asked.data, task=asked.task, gated=gated)
    if asked.columns is not None and source is None:
        raise OptionError(f"--columns {asked.columns} names those of a table; give one with --calibration FILE")
    if asked.metrics and gate is None:
        raise OptionError(
            f"--metric {', '.join(asked.metrics)} is what --max-drop is in points of: add that, or leave it out"
        )
    text = (
        None
        if source is None
        else CalibrationConfig(source, asked.data, rows, seed=config.seed, columns=text_columns, **reading)
    )
    shared: dict[str, Any] = {
        "calibration": text,
        "cache": asked.cache,
        "force": asked.force,
    }
    console = output_console(quiet=asked.quiet or str(asked.json_path) == "-")
    if (place := repository_line(model)) is not None:
        console.print(place)
    if text is not None and (read := calibration_line(text)) is not None:
        console.print(read)
    with workers(asked.scheduler, progress_track(quiet=asked.quiet), out=out) as track:
        if gate is None:
            report = run(
                model,
                out,
                config,
                plan=read_plan(asked.plan_path) if asked.plan_path is not None else None,
                checkpoint=state if config.distill is not None else None,
                track=track,
                **shared,
            )
        else:
            report = optimize_within(
                model, out, gate, config, tell=lambda *seen: console.print(grade_line(*seen)), track=track, **shared
            )
    if asked.json_path is not None:
        write_json(report, asked.json_path)
    for line in optimization_lines(report, out, verbose=asked.verbose):
        console.print(line)
    console.print(after_optimization(model, out, {**options, **reading}, *asked.scoring()), style="dim")


def _with_target_latency(options: dict[str, Any], target: float | None) -> dict[str, Any]:
    """Return ``options`` with what ``--target-latency`` is short for."""
    from squeeze_onnx.support.errors import OptionError

    if target is None:
        return options
    if options["keep"] is not None or options["objective"] == "size":
        raise OptionError(f"--target-latency {target} is a budget by itself; leave out --keep and --objective")
    return options | {"objective": "latency", "keep": target}


def _refuse_contradictions(
    options: dict[str, Any], *, max_drop: float | None, plan: Path | None, checkpoint: Path | None
) -> None:
    """Raise OptionError for options of which one makes another pointless."""
    from squeeze_onnx.compress.config import DEFAULT_OBJECTIVE
    from squeeze_onnx.support.errors import OptionError

    if checkpoint is not None and options["distill"] is None:
        raise OptionError(
            f"--checkpoint {checkpoint} is where --distill keeps its state; add --distill, or leave it out"
        )
    decided = [option for option in ("keep", "floor", "preset", "rank_rule", "include", "exclude") if options[option]]
    decided += ["max-drop"] if max_drop is not None else []
    decided += ["objective"] if options["objective"] != DEFAULT_OBJECTIVE else []
    decided += ["method"] if options["method"] != "auto" else []
    if plan is not None and decided:
        raise OptionError(f"--plan already says what becomes of each site; leave out --{decided[0].replace('_', '-')}")
