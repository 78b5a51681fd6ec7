"""A bundle for a terminal."""

from rich.table import Table

from squeeze_onnx.cli.console import plain_table
from squeeze_onnx.support.readable import readable_bytes
from squeeze_onnx.workflows.packaging.verification import Bundle


def files_table(bundle: Bundle) -> Table:
    """One row per file."""
    table = plain_table("Files", ["file", "SHA-256"], ["size"])
    for name, entry in bundle.manifest.files.items():
        table.add_row(name, entry.sha256, readable_bytes(entry.bytes))
    return table
