"""Archives as nobody should write them."""

import stat
import zipfile
from pathlib import Path


def archive_of(
    path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    """Write ``members``, (name or whole entry, content), into the zip file ``path`` as they are; return it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    """Return an entry that unpacks to a symbolic link."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry
