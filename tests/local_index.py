"""A package index in a folder: tests run the real pip on tiny wheels, without a network."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from squeeze_onnx.support.downloads import Wheel


@dataclass(frozen=True)
class LocalIndex:
    """Wheels in ``folder``, the only ones that pip sees."""

    folder: Path

    @classmethod
    def only_index(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> "LocalIndex":
        """Make an empty index and cut pip off from every other one."""
        folder.mkdir()
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        return cls(folder)

    def add(self, name: str, members: Mapping[str, bytes]) -> Wheel:
        """Put version 1.0 of a package into the index, in place of an earlier one; return its pin."""
        path = self.folder / f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        described = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in {**members, **described}.items():
                archive.writestr(zipfile.ZipInfo(member), content)
        return Wheel(name, "1.0", sha256=hashlib.sha256(path.read_bytes()).hexdigest(), licence="MIT")
