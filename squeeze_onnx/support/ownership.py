"""Which files of a folder this program wrote: `--force` takes away those, and nothing of somebody else's.

The folder of a model lists them in report.json, a bundle in manifest.json. Other JSON files say it by their format, as what
``validate --json`` writes does.
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
    return [name for name in files_in(folder) if name not in written and not _is_ours(folder / name)]


def _listed(record: Path, key: str) -> list[str]:
    """Return what ``record`` lists, itself included; nothing if it is none of ours."""
    if (document := _ours(record)) is None:
        return []
    names = document.get(key)
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list | dict) else []
    return [record.name, *listed]


def _is_ours(file: Path) -> bool:
    """Whether ``file`` is JSON that this program writes; a report or manifest without its list vouches for nothing."""
    return file.suffix == ".json" and file.name not in _LISTS and not file.is_symlink() and _ours(file) is not None


def _ours(file: Path) -> dict[str, Any] | None:
    """Return what a JSON file of this program says; None if it is none of ours."""
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(document, dict) and str(document.get("format")).startswith(OURS)
    return document if ours else None
