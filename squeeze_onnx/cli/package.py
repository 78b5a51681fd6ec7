"""``squeeze-onnx package``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, verbosity_of, verbosity_options
from squeeze_onnx.cli.models import MODEL, from_hub
from squeeze_onnx.cli.options import ANSWER, PATH, embedding_options, text_options
from squeeze_onnx.cli.sections import SectionedCommand
from squeeze_onnx.support.readable import readable_bytes

SECTIONS = {
    "What is written": ("--output", "--force", "--target", "--form", "--compress"),
    "What the manifest says": ("--licence", "--measured"),
    "What is read": ("--tokenizer", "--max-length", "--data", "--pooling", "--prompt", "--answer", "--offline"),
}


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("model", type=MODEL)
@click.option(
    "-o", "--output", "out", type=PATH, required=True, metavar="BUNDLE", help="Folder to write; an archive if *.zip."
)
@click.option("--target", default="edge", show_default=True, metavar="NAME", help="What it is for: edge.")
@click.option(
    "--form", default="onnx", show_default=True, metavar="NAME", help="onnx, ort (ONNX Runtime's own format) or both."
)
@click.option(
    "--compress",
    default="none",
    show_default=True,
    metavar="NAME",
    help="none, or zstd: the model entropy-coded, about a tenth less in int8; run.py then needs zstandard too.",
)
@click.option("--licence", metavar="TEXT", help="Licence of the source model [default: as its model card says].")
@click.option(
    "--measured",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="JSON of optimize, validate or bench on this model, for the manifest; may be given several times.",
)
@text_options
@click.option(
    "--data",
    type=PATH,
    metavar="FILE",
    help="An .npz of inputs of a model that reads no text; its first row is the example.",
)
@embedding_options
@ANSWER
@click.option(
    "--force", is_flag=True, help="Replace BUNDLE if it exists; a folder, if it holds no file of somebody else."
)
@verbosity_options
@from_hub("model")
def package(model: Path, out: Path, force: bool, **options: Any) -> None:
    """Pack MODEL for a device: ONNX, or .ort with its required operators, tokenizer, manifest.json and run.py.

    MODEL is an .onnx file, a folder with one, or hf://org/name[@revision]; its precision stays what it is. run.py answers a
    text, or a question by a part of its context, with onnxruntime, tokenizers and numpy alone, or runs an .npz of inputs. Equal
    input gives equal bytes.
    """
    from squeeze_onnx.cli.bundle_tables import files_table
    from squeeze_onnx.cli.next_lines import command
    from squeeze_onnx.workflows.packaging.bundle import PackageConfig
    from squeeze_onnx.workflows.packaging.bundle import package as run

    quiet, verbose = verbosity_of(options)
    bundle = run(model, out, PackageConfig(**options), force=force)
    console = output_console(quiet=quiet)
    if verbose:
        console.print(files_table(bundle))
    in_memory = sum(entry.bytes for entry in bundle.manifest.contents.values())
    unpacked = f", its model {readable_bytes(in_memory)} in memory" if in_memory else ""
    console.print(f"{out}: {len(bundle.manifest.files) + 1} files, {readable_bytes(bundle.bytes)}{unpacked}")
    if bundle.manifest.document["licence"] is None:
        console.print("Licence of the source model unknown: --licence says it to those who get the bundle", style="dim")
    console.print(command("verify", str(out), "--sha256", bundle.sha256), style="dim")
