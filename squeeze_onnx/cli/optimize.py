"""``squeeze-onnx optimize``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_options
from squeeze_onnx.cli.options import PATH, SCHEDULER, floors_by_role, number_or_word, reading_options, spectrum_options
from squeeze_onnx.cli.sections import SectionedCommand
from squeeze_onnx.compress.method_names import METHOD_HELP

SECTIONS = {
    "What MODEL is taken as": ("--dequantize", "--freeze-inputs"),
    "What is written": ("--output", "--force", "--json", "--external-data"),
    "How much stays": (
        "--keep",
        "--max-drop",
        "--target-latency",
        "--objective",
        "--batch-size",
        "--sequence-length",
        "--threads",
        "--floor",
        "--preset",
        "--plan",
    ),
    "By which method": (
        "--method",
        "--include",
        "--exclude",
        "--noise",
        "--probability",
        "--rank-rule",
        "--above-break-even",
        "--decomposition",
        "--power-iterations",
        "--tolerance",
    ),
    "On which data": (
        "--task",
        "--data",
        "--calibration",
        "--calibration-rows",
        "--max-length",
        "--tokenizer",
        "--provider",
        "--cache",
    ),
    "On which machines": ("--scheduler",),
    "Steps around truncation": (
        "--slice-neurons",
        "--thin-heads",
        "--joint-qkv",
        "--refit",
        "--distill",
        "--distill-layers",
        "--checkpoint",
        "--checkpoint-minutes",
        "--fuse",
        "--precision",
    ),
}


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("model", type=PATH)
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="OUT", help="Folder to write.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    metavar="NAME",
    help=METHOD_HELP,
)
@click.option("--keep", type=float, metavar="F", help="Fraction of the eligible parameters that stays.")
@click.option(
    "--objective",
    default="parameters",
    show_default=True,
    metavar="NAME",
    help="What --keep is a fraction of: parameters, or of the whole model its size or latency.",
)
@click.option(
    "--target-latency",
    type=float,
    metavar="F",
    help="Short for --objective latency --keep F: measured on this machine.",
)
@click.option("--batch-size", default=1, show_default=True, help="Sequences that --objective latency times.")
@click.option("--sequence-length", default=128, show_default=True, help="Tokens of each of them.")
@click.option("--threads", type=int, metavar="N", help="Intra-op threads it times [default: ONNX Runtime's choice].")
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
@click.option(
    "--calibration-rows",
    type=int,
    metavar="N",
    help="Sentences or pairs to calibrate on [default: 1024, with --distill or soco up to 8192].",
)
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
    "--joint-qkv/--no-joint-qkv",
    default=True,
    help="One left factor for two or all of query, key and value where that costs less [default: with --calibration].",
)
@click.option(
    "--refit/--no-refit",
    default=None,
    help="Regress every weight on what the squeezed model before it returns [default: by whiten and fisher].",
)
@click.option(
    "--distill",
    callback=number_or_word,
    metavar="STEPS|auto",
    help="Then let the squeezed model learn to imitate the dense one on the calibration text.",
)
@click.option(
    "--distill-layers",
    default=0.0,
    show_default=True,
    metavar="F",
    help="Fraction of its steps that goes through single layers first.",
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
@click.option(
    "--rank-rule",
    metavar="NAME[=F]",
    help="Cut each weight on its own instead of by --keep: tracy-widom, hard-threshold, shrinkage, energy=F, stable-rank, "
    "effective-rank or fixed=N (with --method squeeze, svd, fwsvd or tfwsvd).",
)
@click.option(
    "--decomposition",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="How singular triplets are found: exact, rsvd (randomized), rsi (randomized subspace iteration), or by shape.",
)
@click.option("--power-iterations", type=int, metavar="Q", help="Of rsi; 1 is rsvd [default: as --tolerance asks].")
@click.option(
    "--tolerance", type=float, metavar="F", help="At which rsi stops, over the optimal error [default: 0.01]."
)
@click.option("--external-data", is_flag=True, help="Write the weights beside model.onnx (always above 2 GB).")
@click.option(
    "--fuse", metavar="NAME", help="Fuse operators for ONNX Runtime on cpu or cuda; it runs nowhere else then."
)
@click.option(
    "--precision",
    metavar="NAME",
    help="fp32; fp16; int8: integer products, ranges found as it runs; int8-static: ranges from the calibration data; "
    "int8-int4: int8, large tables in four bits; int4: the smallest file, at the speed of fp32 [default: that of the plan, or "
    "fp32].",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option(
    "--json", "json_path", type=PATH, metavar="FILE", help="Write report.json there too; - is standard output."
)
@SCHEDULER
@reading_options
@spectrum_options
@verbosity_options
def optimize(
    model: Path,
    out: Path,
    max_drop: float | None,
    target_latency: float | None,
    plan_path: Path | None,
    calibration: str | None,
    task: str | None,
    data: str | None,
    calibration_rows: int | None,
    max_tokens: int,
    tokenizer: Path | None,
    checkpoint: Path | None,
    checkpoint_minutes: float,
    cache: Path | None,
    scheduler: str | None,
    force: bool,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Write to OUT a smaller MODEL: the weights truncated, their MatMuls rewritten as two thin ones.

    MODEL is an .onnx file or a folder with model.onnx. OUT gets model.onnx, the tokenizer and configuration, plan.json,
    report.json and report.html. Exit status 1 says that no smaller model passes --max-drop; then nothing is written.
    """
    from squeeze_onnx.cli.optimization_lines import optimization_lines
    from squeeze_onnx.cli.search_lines import grade_line
    from squeeze_onnx.cli.writing import refuse_overwriting_models, write_json
    from squeeze_onnx.compress.calibration_source import TASK_PREFIX, CalibrationConfig
    from squeeze_onnx.compress.config import OptimizeConfig
    from squeeze_onnx.compress.plan import read_plan
    from squeeze_onnx.integrations.dask import workers
    from squeeze_onnx.learning.checkpoints import CheckpointConfig
    from squeeze_onnx.support.errors import OptionError
    from squeeze_onnx.workflows.gate import GateConfig
    from squeeze_onnx.workflows.optimize import optimize as run
    from squeeze_onnx.workflows.search import optimize_within

    options = _with_target_latency(options, target_latency)
    _refuse_contradictions(options, max_drop=max_drop, plan=plan_path, checkpoint=checkpoint)
    source = calibration or (f"{TASK_PREFIX}{task}" if task else None)
    if data is not None and source is None:
        raise OptionError(
            f"--data {data} is read for a task only; name it with --task, or give --calibration glue:TASK"
        )
    refuse_overwriting_models([model] if json_path else [], json_path)
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
    }
    console = output_console(quiet=quiet or str(json_path) == "-")
    with workers(scheduler, progress_track(quiet=quiet), out=out) as track:
        if gate is None:
            report = run(
                model,
                out,
                config,
                plan=read_plan(plan_path) if plan_path is not None else None,
                checkpoint=state if config.distill is not None else None,
                track=track,
                **shared,
            )
        else:
            report = optimize_within(
                model, out, gate, config, tell=lambda *seen: console.print(grade_line(*seen)), track=track, **shared
            )
    if json_path is not None:
        write_json(report, json_path)
    for line in optimization_lines(report, out, verbose=verbose):
        console.print(line)
    where = f"--task {task} --data {data}" if task else "--task NAME --data DIR"
    console.print(f"Next: squeeze-onnx validate {model} {out} {where}", style="dim")


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
