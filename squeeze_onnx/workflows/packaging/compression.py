"""Models of a bundle in fewer bytes on the way and on disk: entropy-coded by Zstandard (RFC 8878), whole again in memory."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from squeeze_onnx.support.errors import BundleError, MissingPackageError
from squeeze_onnx.workflows.packaging.manifest import FileEntry, Manifest

SUFFIX = ".zst"

_LEVEL = 3
"""Weights hold nothing twice: what is won is won by the lengths of codes, and higher levels look for repetitions in vain."""

_CHUNK = 2**20


def compress(folder: Path, models: Sequence[str]) -> dict[str, FileEntry]:
    """Put the files ``models`` of ``folder`` there as .zst instead; return what is in each, by its new name.

    Raises MissingPackageError without zstandard.
    """
    tool = _zstandard()
    contents = {}
    for name in models:
        source = folder / name
        contents[name + SUFFIX] = FileEntry.of(source)
        with source.open("rb") as plain, (folder / (name + SUFFIX)).open("wb") as packed:
            tool.ZstdCompressor(level=_LEVEL).copy_stream(plain, packed, size=source.stat().st_size)
        source.unlink()
    return contents


def reading_script(script: str) -> str:
    """Return a bundle's run.py ``script`` for a compressed model."""
    for old, new in (
        ('str(here / manifest["models"][0])', 'zstandard.decompress((here / manifest["models"][0]).read_bytes())'),
        ("import numpy as np, onnxruntime", "import numpy as np, zstandard, onnxruntime"),
        ("numpy only", "numpy and zstandard only"),
    ):
        assert old in script, "in every template"
        script = script.replace(old, new)
    return script


@contextmanager
def decompressed(folder: Path, manifest: Manifest) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield a folder with the bundle in ``folder``, its models as they are run, and their names.

    Raises BundleError for what is not what ``manifest`` says it holds, MissingPackageError without zstandard.
    """
    if not manifest.contents:
        yield folder, manifest.models
        return
    with TemporaryDirectory(prefix="squeeze-onnx-") as place:
        for name in manifest.files:
            target = Path(place) / name.removesuffix(SUFFIX)
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in manifest.contents:
                _decompress(folder / name, target, manifest.contents)
            else:
                shutil.copyfile(folder / name, target)
        yield Path(place), tuple(name.removesuffix(SUFFIX) for name in manifest.models)


def _decompress(source: Path, target: Path, contents: Mapping[str, FileEntry]) -> None:
    """Write what is in ``source``, and no more bytes than it is said to have."""
    tool, expected, written, digest = _zstandard(), contents[source.name], 0, hashlib.sha256()
    try:
        with source.open("rb") as packed, target.open("wb") as plain:
            for chunk in tool.ZstdDecompressor().read_to_iter(packed, write_size=_CHUNK):
                written += len(chunk)
                if written > expected.bytes:
                    break
                digest.update(chunk)
                plain.write(chunk)
    except tool.ZstdError as error:
        raise BundleError(f"{source} is cut off or damaged ({error}): get the bundle again") from error
    if FileEntry(written, digest.hexdigest()) != expected:
        raise BundleError(f"{source} does not hold what its manifest says: do not trust it")


def _zstandard() -> ModuleType:
    try:
        import zstandard  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "zstandard is not installed: pip install 'squeeze-onnx[zstd]', or leave out `compress`"
        ) from error
    return zstandard
