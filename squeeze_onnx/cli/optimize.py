"""``squeeze-onnx optimize``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, readable_bytes, verbosity_options
from squeeze_onnx.cli.options import PATH, number_or_word, spectrum_options


@click.command()
@click.argument("model", type=PATH)
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="OUT", help="Folder to write.")
@click.option("--method", default="auto", show_default=True, metavar="NAME", help="auto, squeeze, svd or whiten.")
@click.option("--keep", type=float, metavar="F", help="Fraction of the eligible parameters that stays.")
@click.option("--preset", metavar="NAME", help="A regime of the SQUEEZE paper: paper-ffn or paper-size.")
@click.option("--plan", "plan_path", type=PATH, metavar="PLAN.json", help="Re-apply a plan, edited or not.")
@click.option("--calibration", metavar="SRC", help="Text without labels: a file, glue:TASK (with --data) or an .npz.")
@click.option("--task", metavar="NAME", help="Calibrate on the train split of this GLUE task in --data.")
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
@click.option("--provider", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda, for calibration.")
@click.option("--external-data", is_flag=True, help="Write the weights beside model.onnx (always above 2 GB).")
@click.option(
    "--fuse", metavar="NAME", help="Fuse operators for ONNX Runtime on cpu or cuda; it runs nowhere else then."
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@spectrum_options
@verbosity_options
def optimize(
    model: Path,
    out: Path,
    plan_path: Path | None,
    calibration: str | None,
    task: str | None,
    data: str | None,
    calibration_rows: int,
    max_tokens: int,
    tokenizer: Path | None,
    checkpoint: Path | None,
    checkpoint_minutes: float,
    force: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Write to OUT a smaller MODEL: the weights truncated, their MatMuls rewritten as two thin ones.

    MODEL is an .onnx file or a folder with model.onnx. OUT gets model.onnx, the tokenizer and configuration, plan.json,
    report.json and report.html.
    """
    from squeeze_onnx.calibration_source import TASK_PREFIX, CalibrationConfig
    from squeeze_onnx.cli.tables import (
        distillation_line,
        fusion_table,
        optimization_table,
        size_table,
        skipped_table,
    )
    from squeeze_onnx.config import OptimizeConfig
    from squeeze_onnx.errors import OptionError
    from squeeze_onnx.learning.checkpoints import CheckpointConfig
    from squeeze_onnx.pipeline import optimize as run
    from squeeze_onnx.plan import read_plan

    decided = [option for option in ("keep", "preset", "include", "exclude") if options[option]]
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
    state = CheckpointConfig((checkpoint or out.parent) / f"{out.name}.distillation.npz", checkpoint_minutes)
    report = run(
        model,
        out,
        OptimizeConfig(**options),
        calibration=None
        if source is None
        else CalibrationConfig(
            source, data, calibration_rows, max_tokens=max_tokens, tokenizer=tokenizer, seed=options["seed"]
        ),
        plan=read_plan(plan_path) if plan_path is not None else None,
        checkpoint=state if options["distill"] is not None else None,
        force=force,
        track=progress_track(quiet=quiet),
    )
    console = output_console(quiet=quiet)
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
    if report["distillation"] is not None:
        console.print(distillation_line(report["distillation"]))
    console.print(f"Next: squeeze-onnx validate {model} {out} --task NAME --data DIR", style="dim")
