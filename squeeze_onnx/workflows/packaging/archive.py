"""A bundle as one .zip file. Nothing in it is compressed: weights hardly are, equal input gives equal bytes under every version
of zlib, and no archive can unpack to more than it weighs."""

import shutil
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from squeeze_onnx.support.errors import BundleError
from squeeze_onnx.workflows.packaging.manifest import MANIFEST, check_name

SUFFIX = ".zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first date that a zip file can tell."""
_UNIX = 3
_ENCRYPTED = 0x1


def is_archive(path: Path) -> bool:
    """Say whether a bundle of this name is an archive; a folder otherwise."""
    return path.suffix.lower() == SUFFIX


def write_archive(folder: Path, path: Path) -> None:
    """Write all files of ``folder`` into ``path``: sorted, the manifest first, without times, owners or compression."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(names, key=lambda name: (name != MANIFEST, name)):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = _UNIX
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            member.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target)


def unpack(path: Path, folder: Path) -> None:
    """Unpack the archive ``path`` into the empty ``folder``, and nowhere else.

    Raises BundleError, before anything is written, if it holds more than plain, uncompressed files under plain relative names,
    each once; and for one that is cut off or damaged.
    """
    with _errors_of(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check(member, path)
        names = [PurePosixPath(member.filename) for member in members]
        folders = {parent for name in names for parent in name.parents}
        if len(set(names)) < len(names) or folders & set(names):
            raise BundleError(f"{path} holds two files of one name: do not trust it")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise BundleError(f"{path} says to hold more than it weighs: do not trust it")
        for member in members:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file)


def _check(member: zipfile.ZipInfo, path: Path) -> None:
    name = member.orig_filename  # zipfile cuts names at a NUL and turns backslashes round
    check_name(name, path)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.is_dir() or kind not in (0, stat.S_IFREG):
        raise BundleError(f"{path} holds {name!r}, which is a link or a folder and no file: do not trust it")
    stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
    if not stored or member.flag_bits & _ENCRYPTED:
        raise BundleError(f"{path} holds {name!r} compressed or encrypted, as no bundle does: unpack it yourself")


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn what zipfile raises for a file that is none, or a damaged one, into a BundleError."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{path} cannot be unpacked ({error.strerror or error}): name a bundle, and make room"
        ) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise BundleError(f"{path} is cut off or damaged ({error}): get the bundle again") from error
