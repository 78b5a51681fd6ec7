"""``squeeze-onnx run``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_of, verbosity_options
from squeeze_onnx.cli.models import OFFLINE
from squeeze_onnx.cli.options import JUNIT, PATH, SCHEDULER
from squeeze_onnx.support.readable import readable_bytes


@click.command()
@click.argument("recipe", type=PATH, default="squeeze.toml")
@click.option("--force", is_flag=True, help="Replace what the recipe writes if it exists.")
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write everything as JSON; - is standard output.")
@SCHEDULER
@OFFLINE
@JUNIT
@verbosity_options
@click.pass_context
def run(
    context: click.Context,
    /,
    recipe: Path,
    force: bool,
    json_path: Path | None,
    junit_path: Path | None,
    **options: Any,
) -> None:
    """Carry out RECIPE, a squeeze.toml: optimize, validate, gate, package.

    Its tables [optimize], [calibration], [search], [validate] and [package] take what the options of the commands are; paths are
    relative to the file. Exit status 1 says that a gate failed; then nothing is packaged.
    """
    from squeeze_onnx.cli.next_lines import READING, after_validation, command
    from squeeze_onnx.cli.validation_tables import print_validation
    from squeeze_onnx.cli.writing import refuse_overwriting_models, write_json, write_text
    from squeeze_onnx.integrations.dask import workers
    from squeeze_onnx.report.junit import GateOutcome, gates_of, junit_xml
    from squeeze_onnx.support.errors import GateError, LastLookError, OptionError
    from squeeze_onnx.workflows.recipe import read_recipe
    from squeeze_onnx.workflows.recipe_run import run_recipe

    quiet, verbose = verbosity_of(options)
    asked = read_recipe(recipe)
    if junit_path is not None and asked.search is None and (asked.validate is None or asked.validate.max_drop is None):
        raise OptionError(f"--junit tells of gates, and {recipe} has none: set max_drop in [validate]")
    models = [asked.places.model] if isinstance(asked.places.model, Path) else []
    refuse_overwriting_models(models, json_path, junit_path)
    try:
        with workers(options["scheduler"], progress_track(quiet=quiet), out=asked.places.output) as track:
            report = run_recipe(asked, force=force, offline=options["offline"], track=track)
    except (GateError, LastLookError) as error:
        if junit_path is not None:
            gate = "[search] finds a model" if isinstance(error, GateError) else "the model answers as predicted"
            write_text(junit_path, junit_xml([GateOutcome(gate, passed=False, message=str(error))]))
        raise
    validation, bundle = report["validation"], report["bundle"]
    if json_path is not None:
        write_json(report, json_path)
    if junit_path is not None:
        searched = [GateOutcome("[search] finds a model", passed=True, message="")] if asked.search else []
        gated = validation is not None and validation["max_drop"] is not None
        write_text(junit_path, junit_xml([*searched, *(gates_of(validation) if gated else ())]))
    console = output_console(quiet=quiet or str(json_path) == "-")
    size = report["optimization"]["size"]
    console.print(
        f"{report['output']}: {readable_bytes(size['baseline_bytes'])} → {readable_bytes(size['optimized_bytes'])}"
    )
    for note in (*report["optimization"]["precision"]["notes"], *report["optimization"]["notes"]):
        console.print(f"Note: {note}")
    if validation is not None:
        print_validation(validation, console, verbose=verbose)
    if bundle is not None:
        console.print(f"{bundle['path']}: {readable_bytes(bundle['bytes'])}, --sha256 {bundle['sha256']}")
        console.print(command("verify", bundle["path"]), style="dim")
    else:
        console.print(f"Report: {report['output']}/report.html", style="dim")
        config = report["optimization"]["config"]
        following = after_validation(Path(report["output"]), {name: config.get(name) for name in READING})
        if following is not None and report["passed"]:
            console.print(following, style="dim")
    if not report["passed"]:
        context.exit(1)
