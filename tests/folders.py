"""What lies in a folder, to tell whether anything changed."""

from pathlib import Path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return all that lies in ``folder``: relative path → content, or None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
