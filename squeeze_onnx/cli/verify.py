"""``squeeze-onnx verify``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, verbosity_options
from squeeze_onnx.cli.options import PATH
from squeeze_onnx.support.readable import readable_bytes


@click.command()
@click.argument("bundle", type=PATH)
@click.option(
    "--sha256", metavar="HEX", help="What `package` printed: vouches for the manifest, as that for the files."
)
@click.option("--unpack", "into", type=PATH, metavar="DIR", help="Folder to unpack an archive to, if all is well.")
@click.option("--force", is_flag=True, help="Replace DIR if it exists and holds no file of somebody else.")
@verbosity_options
def verify(bundle: Path, sha256: str | None, into: Path | None, force: bool, quiet: bool, verbose: bool) -> None:
    """Check every file of BUNDLE, a folder or a .zip, against its manifest, and ask its model once.

    Exit status 2 says that it is cut off, was tampered with or does not run. No code in BUNDLE is run.
    """
    from squeeze_onnx.cli.bundle_tables import files_table
    from squeeze_onnx.cli.next_lines import after_verification
    from squeeze_onnx.workflows.packaging.verification import verify as run

    checked = run(bundle, sha256=sha256, into=into, force=force)
    console = output_console(quiet=quiet)
    if verbose:
        console.print(files_table(checked))
    names = " and ".join(answer.model for answer in checked.answers)
    console.print(
        f"{bundle}: {len(checked.manifest.files)} files, {readable_bytes(checked.bytes)}, all as manifest.json says; "
        f"answered by {names}"
    )
    if sha256 is None:
        console.print(f"SHA-256 of manifest.json: {checked.sha256}; --sha256 compares it", style="dim")
    console.print(after_verification(bundle, into or bundle, _asked(checked.manifest.document)), style="dim")


def _asked(document: Mapping[str, Any]) -> list[str]:
    """Return what the run.py of a bundle with this manifest is given."""
    if "text" not in document:
        return []
    return ["a question", "its context"] if "spans" in document["text"] else ["a text"]
