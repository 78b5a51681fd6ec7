"""``squeeze-onnx analyze``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_of, verbosity_options
from squeeze_onnx.cli.models import MODEL, from_hub
from squeeze_onnx.cli.options import PATH, SCHEDULER, reading_options, spectrum_options
from squeeze_onnx.cli.sections import SectionedCommand

SECTIONS = {
    "What MODEL is taken as": ("--dequantize", "--freeze-inputs", "--offline"),
    "What is written": ("--json", "--html"),
    "What is looked at": ("--include", "--exclude"),
    "How it is judged": ("--noise", "--probability", "--seed"),
    "On which machines": ("--scheduler",),
}


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("model", type=MODEL)
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write everything as JSON; - is standard output.")
@click.option("--html", "html_path", type=PATH, metavar="FILE", help="Write a self-contained page.")
@SCHEDULER
@reading_options
@spectrum_options
@verbosity_options
@from_hub("model")
def analyze(model: Path, json_path: Path | None, html_path: Path | None, scheduler: str | None, **options: Any) -> None:
    """Hold every weight matrix of MODEL against random-matrix theory: what in it is signal, what is noise?

    MODEL is an .onnx file, a folder with model.onnx, or hf://org/name[@revision]. Nothing is changed.
    """
    from squeeze_onnx.cli.next_lines import after_analysis
    from squeeze_onnx.cli.reading_lines import cache_size_line
    from squeeze_onnx.cli.tables import analysis_table, copies_line, noise_table, skipped_table
    from squeeze_onnx.cli.writing import refuse_overwriting_models, write_reports
    from squeeze_onnx.compress.config import AnalyzeConfig
    from squeeze_onnx.integrations.dask import workers
    from squeeze_onnx.report.html import render_analysis
    from squeeze_onnx.workflows.optimize import analyze as run

    refuse_overwriting_models([model], json_path, html_path)
    quiet, verbose = verbosity_of(options)
    config = AnalyzeConfig(**options)
    with workers(scheduler, progress_track(quiet=quiet)) as track:
        report = run(model, config, track)
    write_reports(report, json_path, html_path, render_analysis)
    console = output_console(quiet=quiet or str(json_path) == "-")
    console.print(analysis_table(report))
    console.print()
    console.print(noise_table(report))
    if (copies := copies_line(report)) is not None:
        console.print(copies)
    if report["cache"] is not None:
        console.print(cache_size_line(report["cache"]))
    if verbose:
        console.print(skipped_table(report))
    elif report["skipped"]:
        console.print(f"{len(report['skipped'])} not eligible by default (reasons with --verbose)", style="dim")
    said = [f"--{name.replace('_', '-')}" for name in ("dequantize", "freeze_inputs") if options[name]]
    said += [word for name in ("include", "exclude") for value in options[name] for word in (f"--{name}", value)]
    if (following := after_analysis(model, report, *said)) is not None:
        console.print(following, style="dim")
