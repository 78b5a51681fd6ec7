"""Which files of a folder this program wrote: `--force` takes away those, and nothing of somebody else's.

The folder of a model lists them in report.json, a bundle in manifest.json.
"""

import json
from pathlib import Path
from typing import Any

OURS = "squeeze-onnx/"
"""How the format of every JSON file begins that this program writes."""

_LISTS = {"report.json": "written", "manifest.json": "files"}
"""File → the key under which it lists the files beside it."""


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files and links in ``folder``, relative to it, with slashes, in order."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def somebody_elses(folder: Path) -> list[str]:
    """Return the files in ``folder`` that this program did not write, as `files_in` does."""
    written = {name for record, key in _LISTS.items() for name in _listed(folder / record, key)}
    return [name for name in files_in(folder) if name not in written]


def _listed(record: Path, key: str) -> list[str]:
    """Return what ``record`` lists, itself included; nothing if it is none of ours."""
    try:
        document: Any = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(document, dict) or not str(document.get("format")).startswith(OURS):
        return []
    names = document.get(key)
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list | dict) else []
    return [record.name, *listed]
