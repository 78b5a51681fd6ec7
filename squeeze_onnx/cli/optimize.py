"""``squeeze-onnx optimize``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, readable_bytes, verbosity_options
from squeeze_onnx.cli.options import PATH, floors_by_role, number_or_word, spectrum_options


@click.command()
@click.argument("model", type=PATH)
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="OUT", help="Folder to write.")
@click.option("--method", default="auto", show_default=True, metavar="NAME", help="auto, squeeze, svd or whiten.")
@click.option("--keep", type=float, metavar="F", help="Fraction of the eligible parameters that stays.")
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Search the smallest model whose task metric drops by at most this (1 point = 0.01; with --task, --data).",
)
@click.option(
    "--floor",
    multiple=True,
    callback=floors_by_role,
    metavar="[ROLE=]F",
    help="Least fraction of its own parameters that every weight, or one of this role, keeps.",
)
@click.option("--preset", metavar="NAME", help="A regime of the SQUEEZE paper: paper-ffn or paper-size.")
@click.option("--plan", "plan_path", type=PATH, metavar="PLAN.json", help="Re-apply a plan, edited or not.")
@click.option("--calibration", metavar="SRC", help="Text without labels: a file, glue:TASK (with --data) or an .npz.")
@click.option(
    "--task", metavar="NAME", help="Calibrate on the train split of this GLUE task in --data; the task of --max-drop."
)
@click.option("--data", metavar="DIR", help="GLUE splits: a folder, or a hub name.")
@click.option("--calibration-rows", default=1024, show_default=True, help="Sentences or pairs to calibrate on.")
@click.option("--max-length", "max_tokens", default=128, show_default=True, help="Tokens a sequence is cut to.")
@click.option("--tokenizer", type=PATH, metavar="PATH", help="A tokenizer.json, or a folder with one.")
@click.option(
    "--above-break-even",
    default="leave",
    show_default=True,
    metavar="WHAT",
    help="A rank too high for factors to pay: leave the weight, or denoise it.",
)
@click.option(
    "--slice-neurons/--no-slice-neurons",
    default=True,
    help="Take whole neurons out of feed-forward blocks where that costs less [default: with --calibration].",
)
@click.option(
    "--thin-heads/--no-thin-heads",
    default=True,
    help="Take dimensions out of attention heads where that costs less [default: with --calibration].",
)
@click.option(
    "--refit/--no-refit",
    default=None,
    help="Regress every weight on what the squeezed model before it returns [default: with --calibration].",
)
@click.option(
    "--distill",
    callback=number_or_word,
    metavar="STEPS|auto",
    help="Then let the squeezed model learn to imitate the dense one on the calibration text.",
)
@click.option(
    "--checkpoint",
    type=PATH,
    metavar="DIR",
    help="Where --distill keeps its state, to go on after a kill [default: beside OUT].",
)
@click.option("--checkpoint-minutes", default=5.0, show_default=True, metavar="N", help="How often it does.")
@click.option(
    "--provider", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda, to calibrate and score on."
)
@click.option("--cache", type=PATH, metavar="DIR", help="Keep there what is learned of MODEL, for other budgets.")
@click.option("--external-data", is_flag=True, help="Write the weights beside model.onnx (always above 2 GB).")
@click.option(
    "--fuse", metavar="NAME", help="Fuse operators for ONNX Runtime on cpu or cuda; it runs nowhere else then."
)
@click.option(
    "--precision",
    metavar="NAME",
    help="fp32; fp16; int8: integer products, ranges found as it runs; int8-static: ranges from the calibration data; "
    "int4: the smallest file, at the speed of fp32 [default: that of the plan, or fp32].",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@spectrum_options
@verbosity_options
def optimize(
    model: Path,
    out: Path,
    max_drop: float | None,
    plan_path: Path | None,
    calibration: str | None,
    task: str | None,
    data: str | None,
    calibration_rows: int,
    max_tokens: int,
    tokenizer: Path | None,
    checkpoint: Path | None,
    checkpoint_minutes: float,
    cache: Path | None,
    force: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Write to OUT a smaller MODEL: the weights truncated, their MatMuls rewritten as two thin ones.

    MODEL is an .onnx file or a folder with model.onnx. OUT gets model.onnx, the tokenizer and configuration, plan.json,
    report.json and report.html. Exit status 1 says that no smaller model passes --max-drop; then nothing is written.
    """
    from squeeze_onnx.calibration_source import TASK_PREFIX, CalibrationConfig
    from squeeze_onnx.cli.search_lines import grade_line, search_verdict
    from squeeze_onnx.cli.tables import (
        certificate_line,
        distillation_line,
        fusion_table,
        optimization_table,
        precision_line,
        size_table,
        skipped_table,
    )
    from squeeze_onnx.config import OptimizeConfig
    from squeeze_onnx.errors import OptionError
    from squeeze_onnx.gate import GateConfig
    from squeeze_onnx.learning.checkpoints import CheckpointConfig
    from squeeze_onnx.pipeline import optimize as run
    from squeeze_onnx.plan import read_plan
    from squeeze_onnx.search import optimize_within

    decided = [option for option in ("keep", "floor", "preset", "include", "exclude") if options[option]]
    decided += ["max-drop"] if max_drop is not None else []
    if checkpoint is not None and options["distill"] is None:
        raise OptionError(
            f"--checkpoint {checkpoint} is where --distill keeps its state; add --distill, or leave it out"
        )
    if plan_path is not None and (decided or options["method"] != "auto"):
        raise OptionError(f"--plan already says what becomes of each site; leave out --{[*decided, 'method'][0]}")
    source = calibration or (f"{TASK_PREFIX}{task}" if task else None)
    if data is not None and source is None:
        raise OptionError(
            f"--data {data} is read for a task only; name it with --task, or give --calibration glue:TASK"
        )
    config = OptimizeConfig(**options)
    state = CheckpointConfig((checkpoint or out.parent) / f"{out.name}.distillation.npz", checkpoint_minutes)
    reading: dict[str, Any] = {"max_tokens": max_tokens, "tokenizer": tokenizer}
    gate = GateConfig(max_drop, task, data, **reading) if max_drop is not None else None
    shared: dict[str, Any] = {
        "calibration": CalibrationConfig(source, data, calibration_rows, seed=config.seed, **reading)
        if source is not None
        else None,
        "cache": cache,
        "force": force,
        "track": progress_track(quiet=quiet),
    }
    console = output_console(quiet=quiet)
    if gate is None:
        report = run(
            model,
            out,
            config,
            plan=read_plan(plan_path) if plan_path is not None else None,
            checkpoint=state if config.distill is not None else None,
            **shared,
        )
    else:
        report = optimize_within(
            model, out, gate, config, tell=lambda *seen: console.print(grade_line(*seen)), **shared
        )
    if verbose:
        console.print(optimization_table(report))
        console.print(skipped_table(report))
    console.print(size_table(report))
    if report["fused"] is not None:
        console.print(fusion_table(report))
    size = report["size"]
    console.print(
        f"{out}: {readable_bytes(size['baseline_bytes'])} → {readable_bytes(size['optimized_bytes'])}, "
        f"method {report['method']}"
    )
    if report["precision"]["name"] != "fp32":
        console.print(precision_line(report["precision"]))
    if report["distillation"] is not None:
        console.print(distillation_line(report["distillation"]))
    if "search" in report:
        console.print(search_verdict(report["search"]))
    if report["certificate"] is not None:
        console.print(certificate_line(report["certificate"]))
    where = f"--task {task} --data {data}" if task else "--task NAME --data DIR"
    console.print(f"Next: squeeze-onnx validate {model} {out} {where}", style="dim")
