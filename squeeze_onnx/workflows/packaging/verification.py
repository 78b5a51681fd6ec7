"""Verify: is a bundle whole, is it what was packaged, and does it run?"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from squeeze_onnx.support.errors import BundleError
from squeeze_onnx.support.given_names import called
from squeeze_onnx.support.shown import Shown
from squeeze_onnx.support.staging import staged_folder
from squeeze_onnx.workflows.packaging.archive import is_archive, unpack
from squeeze_onnx.workflows.packaging.compression import decompressed
from squeeze_onnx.workflows.packaging.manifest import MANIFEST, FileEntry, Manifest, read_manifest
from squeeze_onnx.workflows.packaging.smoke_test import Answer, ask, ask_saved


@dataclass(frozen=True, repr=False)
class Bundle(Shown):
    """A bundle that is whole: what lies in it, and what its model answered.

    ``sha256`` is that of manifest.json, which holds those of all other files: it stands for the whole bundle, folder or archive.
    """

    path: Path
    manifest: Manifest
    sha256: str
    answers: tuple[Answer, ...]

    @classmethod
    def of(cls, path: Path, folder: Path, manifest: Manifest, answers: tuple[Answer, ...]) -> Self:
        """Describe the bundle ``path``, whose files lie in ``folder``."""
        return cls(path, manifest, hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(), answers)

    def summary(self) -> dict[str, str]:
        """Return where it lies, its files, and the digest that stands for it."""
        return {
            "path": str(self.path),
            "files": f"{len(self.manifest.files)}, {self.bytes:,} bytes",
            "sha256": self.sha256,
        }

    @property
    def bytes(self) -> int:
        """Return the size of all files but the manifest."""
        return sum(entry.bytes for entry in self.manifest.files.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"path": str(self.path), "sha256": self.sha256, "bytes": self.bytes, "files": len(self.manifest.files)}


def verify(
    path: str | Path, *, sha256: str | None = None, into: str | Path | None = None, force: bool = False
) -> Bundle:
    """Check every file of the bundle at ``path`` against its manifest, and ask each form of its model once.

    No code of the bundle is run. ``sha256`` is what `Bundle.sha256` must be: the manifest vouches for the files, and this for
    the manifest. An archive is unpacked to the new folder ``into``, which appears only if all is well, or to a temporary one.

    Raises BundleError for what is missing, cut off, tampered with or more than it should be; ModelError if it does not run.
    """
    path = Path(path)
    with _as_folder(path, None if into is None else Path(into), force=force) as folder:
        manifest = read_manifest(folder)
        _check_files(folder, manifest, path)
        bundle = Bundle.of(path, folder, manifest, ())
        if sha256 is not None and bundle.sha256 != sha256.lower():
            raise BundleError(f"{path}: the SHA-256 of {MANIFEST} is {bundle.sha256}, not the one that was asked for")
        example = manifest.example_inputs
        with decompressed(folder, manifest) as (place, models):
            answers = ask(place, models, manifest.asked) if example is None else ask_saved(place, models, example)
        return Bundle.of(path, folder, manifest, answers)


@contextmanager
def _as_folder(path: Path, into: Path | None, *, force: bool) -> Iterator[Path]:
    if not is_archive(path):
        if into is not None:
            raise BundleError(f"{path} is no .zip archive: there is nothing to unpack into {into}")
        yield path
    elif into is None:
        with (
            TemporaryDirectory(prefix="squeeze-onnx-") as folder,
            called(str(path), Path(folder), address=str(path)),
        ):
            unpack(path, Path(folder))
            yield Path(folder)
    else:
        with staged_folder(into, force=force) as stage:
            unpack(path, stage)
            yield stage


def _check_files(folder: Path, manifest: Manifest, bundle: Path) -> None:
    """Raise BundleError unless ``folder``, where the files of ``bundle`` lie, holds what ``manifest`` lists and no more."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(f"{bundle}: {name} is a link or no file at all, as a bundle has none: do not trust it")
        if path.is_file() and name not in (MANIFEST, *manifest.files):
            raise BundleError(f"{bundle}: {name} is not in {MANIFEST}: do not trust it, or remove it")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{bundle}: {name} is missing: get the bundle again")
        if path.stat().st_size != expected.bytes:
            raise BundleError(f"{bundle}: {name} has {path.stat().st_size} bytes, not {expected.bytes}: get it again")
        if FileEntry.of(path) != expected:
            raise BundleError(f"{bundle}: {name} is not what was packaged (its SHA-256 differs): get the bundle again")
