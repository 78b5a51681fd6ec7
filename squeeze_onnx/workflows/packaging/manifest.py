"""manifest.json: what lies in a bundle, and how to tell that it still does."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.support.errors import BundleError, OptionError

FORMAT = "squeeze-onnx/bundle/1"
MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 2**24
"""Bytes; manifest.json is read into memory before anything of it is known."""


@dataclass(frozen=True)
class FileEntry:
    """What a file of a bundle must be: its size in bytes and the SHA-256 of its content, in hexadecimal."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Measure the file ``path``."""
        with path.open("rb") as stream:
            return cls(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    ``files`` are all others of the bundle by relative path, ``models`` those of them that are a form of the model, the one that
    run.py opens first; ``document`` is the whole JSON.
    """

    files: Mapping[str, FileEntry]
    models: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def contents(self) -> Mapping[str, FileEntry]:
        """What is in those of ``models`` that are compressed, by their names; raises BundleError if it is malformed."""
        try:
            found = {
                str(name): FileEntry(int(entry["bytes"]), str(entry["sha256"]))
                for name, entry in self.document.get("contents", {}).items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"{MANIFEST} does not say what is in its models: get the bundle again") from error
        if found and set(found) != set(self.models):
            raise BundleError(f"{MANIFEST} says what is in other files than its models: get the bundle again")
        return found

    @property
    def example_inputs(self) -> str | None:
        """The .npz in the bundle that a model of other inputs than text is tried on, None of a text model."""
        inputs = self.document.get("inputs")
        if inputs is None:
            return None
        example = inputs.get("example") if isinstance(inputs, Mapping) else None
        if example not in self.files:
            raise BundleError(f"{MANIFEST} names no example among its files: get the bundle again")
        return str(example)

    @property
    def asked(self) -> EmbeddingOptions:
        """What was said, beside the files, of how the model is read; raises BundleError if it is malformed."""
        try:
            return EmbeddingOptions(**self.document["text"].get("asked", {}))
        except (KeyError, TypeError, AttributeError, OptionError) as error:
            raise BundleError(
                f"{MANIFEST} does not say how the model is read ({error}): get the bundle again"
            ) from error

    @classmethod
    def describing(cls, folder: Path, document: Mapping[str, Any]) -> Self:
        """Return the manifest of all files in ``folder``; ``document`` is what else it says, with a list ``models``."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): FileEntry.of(path) for path in paths}
        listed = {name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in files.items()}
        return cls(files, tuple(document["models"]), {"format": FORMAT, **document, "files": listed})

    def write(self, folder: Path) -> None:
        """Write manifest.json into ``folder``: the same content gives the same bytes."""
        text = json.dumps(self.document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")


def read_manifest(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``; raises BundleError if it is missing or does not say what a manifest says."""
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleError(f"{folder} holds no {MANIFEST}: name a bundle that `squeeze-onnx package` wrote")
    if path.stat().st_size > _MANIFEST_LIMIT:
        raise BundleError(f"{path} is larger than {_MANIFEST_LIMIT} bytes: get the bundle again")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON, or is cut off: get the bundle again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f"{path} is not of the format {FORMAT}: name a bundle that `squeeze-onnx package` wrote")
    try:
        files = {
            name: FileEntry(int(entry["bytes"]), str(entry["sha256"])) for name, entry in document["files"].items()
        }
        models = tuple(str(name) for name in document["models"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path} does not list files and models: get the bundle again") from error
    for name in files:
        check_name(name, path)
    if not models or not set(models) <= set(files):
        raise BundleError(f"{path} names no model among its files: get the bundle again")
    return Manifest(files, models, document)


def check_name(name: str, source: Path) -> None:
    """Raise BundleError if ``name``, found in ``source``, is anything but a relative path to a file below the bundle's folder."""
    parts = name.split("/")
    if str(PurePosixPath(name)) != name or {"", ".", ".."} & set(parts) or set(name) & set("\\:\0"):
        raise BundleError(f"{source} names a file {name!r}, which is no plain path inside a bundle: do not trust it")
