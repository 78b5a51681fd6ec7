"""Pointers of Git LFS: what a clone without git-lfs has in place of large files, a few lines of text."""

from pathlib import Path

from squeeze_onnx.support.errors import InputError

GIT_LFS_POINTER = b"version https://git-lfs.github.com/"
"""What such a file begins with."""


def refuse_pointer(path: Path, error: type[InputError]) -> None:
    """Raise ``error`` if the file ``path`` is a pointer; a file that cannot be read is left to who reads it."""
    try:
        with path.open("rb") as file:
            found = file.read(len(GIT_LFS_POINTER))
    except OSError:
        return
    if found == GIT_LFS_POINTER:
        raise error(f"{path} is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`")
