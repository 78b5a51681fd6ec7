"""The files of a repository that a loader needs beside the model: configuration, tokenizer, further modules, licences.

They are found by following what names them: modules.json names folders, config.json and tokenizer_config.json name files of
Python and vocabularies, and a tokenizer's files are told by what they are called.
"""

import re
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.repository import Repository
from squeeze_onnx.support.errors import ModelError

POOLING_FILE = PurePosixPath("1_Pooling", "config.json")
"""Read where there is no modules.json to name it."""

LICENCES = ("license*", "licence*", "notice*", "copying*")
"""What most licences ask to be passed on; patterns, in lower case."""

_CONFIGURATION = ("*config*.json", "modules.json", "chat_template*")
_TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "*vocab*", "merges*.txt", "bpe.codes", "dict.txt"),
    *("*.model", "*.spm", "*.tiktoken"),
)
_NO_COMPANIONS = ("*.onnx*", "*.bin", "*.safetensors", "*.md", "*.h5", "*.msgpack", "*.pt", "*.pth")
"""Weights of other frameworks are those of the dense model."""

_NAMING = ("config.json", "tokenizer_config.json")
_RELATIVE_IMPORT = re.compile(r"^\s*from\s+\.(\w+)\s+import\b", re.MULTILINE)


def companions(repository: Repository) -> tuple[PurePosixPath, ...]:
    """Return the paths of all companions of ``repository``, relative to its root, sorted."""
    found: set[PurePosixPath] = set()
    for folder in repository.folders:
        inner = PurePosixPath(folder.relative_to(repository.root).as_posix())
        found |= {inner / name for name in (*_named_alike(folder), *_followed(folder))}
    for module in repository.modules[1:]:
        found |= set(_files_below(repository.root, module.folder))
    if (repository.root / POOLING_FILE).is_file():
        found.add(POOLING_FILE)
    return tuple(sorted(found))


def copy_companions(repository: Repository, target: Path) -> None:
    """Copy the `companions` of ``repository`` into the folder ``target``, to the same places; links as what they lead to."""
    for name in companions(repository):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository.root / name, target / name)


def licences(folder: Path) -> list[str]:
    """Return the names of the licences and notices in ``folder``."""
    return sorted(path.name for path in _files(folder) if _is_one_of(path.name, LICENCES))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in patterns)


def may_be_companion(name: str) -> bool:
    """Whether a file of this ``name``, beside a model or in a folder above, belongs to it."""
    if _is_one_of(name, LICENCES):
        return True
    return _is_one_of(name, (*_CONFIGURATION, *_TOKENIZER)) and not _is_one_of(name, _NO_COMPANIONS)


def _named_alike(folder: Path) -> Iterator[str]:
    yield from (path.name for path in _files(folder) if may_be_companion(path.name))


def _followed(folder: Path) -> Iterator[str]:
    """Yield the files in ``folder`` that its configuration names, and the Python files that these import."""
    waiting = [name for file in _NAMING if (folder / file).is_file() for name in _names_in(folder / file)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or "/" in name or "\\" in name or not _exists(folder / name):
            continue
        if _is_one_of(name, _NO_COMPANIONS):
            continue
        seen.add(name)
        yield name
        if name.endswith(".py"):
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            waiting += [f"{module}.py" for module in _RELATIVE_IMPORT.findall(text)]


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # any string may stand in a configuration
        return False


def _names_in(path: Path) -> Iterator[str]:
    """Yield what may be the name of a file: every string in the JSON file ``path``, and the modules of its ``auto_map``."""
    try:
        values = read_json_object(path)
    except ModelError:  # it is copied as it is, and whoever needs to read it says what is wrong
        return
    yield from (text for text in _strings(values) if text)
    for reference in _strings(values.get("auto_map")):
        yield f"{reference.rpartition('.')[0]}.py"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _strings(entry)


def _files_below(root: Path, folder: PurePosixPath) -> Iterator[PurePosixPath]:
    """Yield the files of a module in a folder of its own, hidden ones left out."""
    if not folder.parts:
        return
    for path in (root / folder).rglob("*"):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative
