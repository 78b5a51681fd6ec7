"""``squeeze-onnx optimize``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_options
from squeeze_onnx.cli.models import MODEL, from_hub
from squeeze_onnx.cli.optimize_options import optimize_options
from squeeze_onnx.cli.optimize_sections import FIRST_SCREEN, SECTIONS
from squeeze_onnx.cli.sections import SectionedCommand


@click.command(cls=SectionedCommand, sections=SECTIONS, first_screen=FIRST_SCREEN)
@click.argument("model", type=MODEL)
@optimize_options
@verbosity_options
@from_hub("model")
def optimize(
    model: Path,
    out: Path | None,
    **options: Any,
) -> None:
    """Write to OUT a smaller MODEL: the weights truncated, their MatMuls rewritten as two thin ones.

    MODEL is an .onnx file, a folder with model.onnx, there or in its subfolder onnx, or hf://org/name[@revision], which is
    fetched. OUT has the same layout: model.onnx, tokenizer, configuration and what else a loader needs; and plan.json,
    report.json and report.html. Exit status 1 says that no smaller model passes --max-drop, or that the finished one answers
    far from what was predicted; then nothing is written.
    """
    from squeeze_onnx.cli.data_lines import calibration_line
    from squeeze_onnx.cli.optimization_lines import optimization_lines
    from squeeze_onnx.cli.optimize_request import Request
    from squeeze_onnx.cli.reading_lines import repository_line
    from squeeze_onnx.cli.search_lines import grade_line
    from squeeze_onnx.integrations.dask import workers

    request = Request.of(model, out, options)
    console = output_console(quiet=request.quiet)
    if (place := repository_line(model)) is not None:
        console.print(place)
    if request.text is not None and (read := calibration_line(request.text)) is not None:
        console.print(read)
    if request.asked.dry_run:
        for sentence in request.foresee(progress_track(quiet=request.asked.quiet)):
            console.print(sentence)
        return
    with workers(request.asked.scheduler, progress_track(quiet=request.asked.quiet), out=request.out) as track:
        report = request.carry_out(track, lambda *seen: console.print(grade_line(*seen)))
    for line in optimization_lines(report, request.out, verbose=request.asked.verbose):
        console.print(line)
    if (following := request.next_command()) is not None:
        console.print(following, style="dim")
