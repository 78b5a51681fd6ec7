"""``squeeze-onnx validate``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_of, verbosity_options
from squeeze_onnx.cli.models import MODEL, from_hub
from squeeze_onnx.cli.options import ANSWER, COLUMNS, JUNIT, METRIC, PATH, embedding_options, text_options
from squeeze_onnx.cli.sections import SectionedCommand

SECTIONS = {
    "What is asked": (
        "--task",
        "--data",
        "--columns",
        "--metric",
        "--limit",
        "--robustness",
        "--max-length",
        "--tokenizer",
        "--pooling",
        "--prompt",
        "--answer",
    ),
    "Gate": ("--max-drop", "--junit"),
    "What is written": ("--json", "--html"),
    "How it runs": ("--provider", "--batch-size", "--threads", "--tf32", "--seed", "--offline"),
}


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("baseline", type=MODEL)
@click.argument("candidate", type=MODEL)
@click.option("--task", metavar="NAME", help="sst2, mrpc, rte, cola, stsb, qnli, qqp, mnli or wnli.")
@click.option(
    "--data",
    metavar="DIR|FILE",
    help="With --task: a folder of GLUE splits or a hub name. Without: rows of your own (JSON Lines, JSON, CSV, TSV, Parquet, "
    "CoNLL, or a sentence a line), a folder in BEIR's layout, or an .npz of model inputs.",
)
@COLUMNS
@METRIC
@click.option(
    "--provider",
    "providers",
    multiple=True,
    default=("cpu",),
    show_default=True,
    metavar="NAME",
    help="cpu or cuda; may be given several times.",
)
@click.option(
    "--max-drop", type=float, metavar="POINTS", help="Exit with 1 if the primary metric drops by more (1 point = 0.01)."
)
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write everything as JSON; - is standard output.")
@click.option("--html", "html_path", type=PATH, metavar="FILE", help="Write a self-contained page.")
@JUNIT
@click.option("--batch-size", default=32, show_default=True, help="Sequences run at once.")
@text_options
@embedding_options
@ANSWER
@click.option("--threads", type=int, metavar="N", help="Intra-op threads of onnxruntime.")
@click.option(
    "--tf32/--no-tf32", default=True, show_default=True, help="On CUDA: multiply fp32 in TF32, as by default."
)
@click.option("--limit", type=int, metavar="N", help="Ask only the first N rows of a split, for a quick look.")
@click.option("--robustness", is_flag=True, help="Also: agreement by confidence, calibration error, perturbed texts.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap and of the perturbations.")
@verbosity_options
@from_hub("baseline", "candidate")
def validate(
    baseline: Path,
    candidate: Path,
    json_path: Path | None,
    html_path: Path | None,
    junit_path: Path | None,
    **options: Any,
) -> None:
    """Score CANDIDATE against BASELINE with onnxruntime: task metrics, fidelity, latency, size.

    Both are .onnx files, folders with model.onnx, there or in a subfolder onnx, or hf://org/name[@revision]. Without --task
    only the likeness of their answers is measured, unless --data has labels. Exit status 1 says that the gate (--max-drop)
    failed.
    """
    from squeeze_onnx.cli.next_lines import after_validation
    from squeeze_onnx.cli.validation_tables import print_validation
    from squeeze_onnx.cli.writing import refuse_overwriting_models, write_reports, write_text
    from squeeze_onnx.evaluate.validate_config import ValidateConfig
    from squeeze_onnx.evaluate.validation import validate as run
    from squeeze_onnx.report.html import render_validation
    from squeeze_onnx.report.junit import gates_of, junit_xml
    from squeeze_onnx.support.errors import OptionError

    quiet, verbose = verbosity_of(options)
    config = ValidateConfig(**options)
    if junit_path is not None and config.max_drop is None:
        raise OptionError("--junit tells of gates, and there is none; set one with --max-drop")
    refuse_overwriting_models([baseline, candidate], json_path, html_path, junit_path)
    report = run(baseline, candidate, config, progress_track(quiet=quiet)).to_json()
    write_reports(report, json_path, html_path, render_validation)
    if junit_path is not None:
        write_text(junit_path, junit_xml(gates_of(report)))
    console = output_console(quiet=quiet or str(json_path) == "-")
    print_validation(report, console, verbose=verbose)
    if not report["passed"]:
        console.print(
            "A larger --keep or more text (--calibration) may pass; `optimize --max-drop` finds the budget that does.",
            style="dim",
        )
        click.get_current_context().exit(1)
    if (following := after_validation(candidate, options)) is not None:
        console.print(following, style="dim")
