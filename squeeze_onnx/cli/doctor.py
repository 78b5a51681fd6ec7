"""``squeeze-onnx doctor``."""

from pathlib import Path

import click

from squeeze_onnx.cli.console import output_console, plain_table, verbosity_options
from squeeze_onnx.cli.options import PATH


@click.command()
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write everything as JSON; - is standard output.")
@verbosity_options
def doctor(json_path: Path | None, quiet: bool, verbose: bool) -> None:
    """Say what this machine has: versions, execution providers, and what is missing for what."""
    from squeeze_onnx.cli.writing import write_json
    from squeeze_onnx.workflows.doctor import examine

    found = examine()
    if json_path is not None:
        write_json(found, json_path)
    console = output_console(quiet=quiet or str(json_path) == "-")
    environment = found["environment"]
    console.print(f"Python {environment['python']}, {environment['platform']}, {environment['processors']} processors")
    console.print(f"{environment['processor'] or environment['machine']}: {' '.join(environment['instruction_sets'])}")
    console.print(", ".join(f"{name} {version}" for name, version in environment["packages"].items()))
    for name, present in found["providers"].items():
        console.print(f"--provider {name}: {'available' if present else 'not in this onnxruntime'}")
    table = plain_table("What works here", ["what", "", "otherwise"], [])
    for ability in found["abilities"]:
        table.add_row(
            ability["what"], "yes" if ability["present"] else "no", "" if ability["present"] else ability["remedy"]
        )
    console.print(table)
    console.print("Next: squeeze-onnx demo", style="dim")
