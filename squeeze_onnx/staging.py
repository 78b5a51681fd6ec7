"""Output that appears whole or not at all: written to a temporary sibling, then renamed.

The sibling lies in the same folder, hence on the same file system, where a rename is one step. An exception, Ctrl-C or
SIGTERM leaves nothing behind; a power cut or ``kill -9`` at most a hidden ``.NAME.partial-…`` or ``.NAME.replaced-…``.
"""

import errno
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from squeeze_onnx.errors import OutputError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def staged_folder(out: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes ``out`` if the block succeeds and is removed if it does not.

    Missing parents of ``out`` are made, and removed again on failure. With ``force``, an existing folder is replaced as
    a whole, once the new one is complete.

    Raises OutputError if ``out`` exists (without ``force``), is not a folder or cannot be replaced, and for a full or
    read-only disk, in the block too.
    """
    out = Path(out)
    with _staged(out) as (partial, target):
        _check_replaceable(out, target, force=force)
        partial.mkdir()
        yield partial
        _check_replaceable(out, target, force=force)  # another run may have been faster
        if target.exists():
            _replace_folder(target, partial)
        else:
            partial.rename(target)


@contextmanager
def staged_file(path: str | Path, *, force: bool = True) -> Iterator[Path]:
    """Yield a path to write, which becomes ``path`` if the block succeeds and is removed if it does not.

    Parents and errors as in `staged_folder`. A pipe or a device such as /dev/stdout is yielded as it is.
    """
    path = Path(path)
    with _staged(path) as (partial, target):
        if path.is_dir():
            raise OutputError(f"{path} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            yield path
            return
        if path.exists() and not force:
            raise OutputError(f"{path} exists already: name another file, or replace it with --force")
        yield partial
        partial.replace(target)


@contextmanager
def _staged(out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (a sibling to write, the place to rename it to), and clean up; a link is followed, not replaced."""
    target = Path(os.path.realpath(out))
    partial = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    missing: list[Path] = []
    try:
        missing += [folder for folder in target.parents if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        with _sigterm_unwinds():
            yield partial, target
    except OSError as error:
        if _concerns_output(error, partial, target):
            _remove(partial)  # so that the free space told is the room there was
            raise OutputError(_explain(out, error, target)) from error
        raise
    finally:
        _remove(partial)
        for folder in missing:
            with suppress(OSError):  # it holds the output
                folder.rmdir()


def _remove(partial: Path) -> None:
    """Remove a file or folder if it is there and can be removed: an error would hide the one that matters."""
    shutil.rmtree(partial, ignore_errors=True)
    with suppress(OSError):
        partial.unlink()


def _check_replaceable(out: Path, target: Path, *, force: bool) -> None:
    """Raise OutputError unless ``target`` is absent or a folder that may be replaced."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{out} is not a folder: name another place")
    if target.is_mount():
        raise OutputError(f"{out} is a mount point, which cannot be replaced: name a folder in it")
    if not force:
        raise OutputError(f"{out} exists already: name another folder, or replace it with --force")
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    for place in (Path.cwd(), home):
        if place.is_relative_to(target):
            raise OutputError(f"{out} holds {place}, which would go with it: name a folder of its own")


def _replace_folder(target: Path, partial: Path) -> None:
    """Put ``partial`` in the place of ``target``, which stays if that fails."""
    aside = target.with_name(f".{target.name}.replaced-{secrets.token_hex(4)}")
    try:
        target.rename(aside)
        partial.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise
    try:
        shutil.rmtree(aside)
    except OSError as error:
        raise OutputError(
            f"{target} is complete, but {aside}, which it replaced, cannot be removed ({error.strerror}): delete it"
        ) from error


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end the process through the cleanup of open blocks, unless somebody else handles it."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _concerns_output(error: OSError, partial: Path, target: Path) -> bool:
    """Tell trouble with writing the output from trouble with something else, such as a file read in the block."""
    if error.errno in {*DISK_FULL, errno.EROFS} or _is_short_write(error):
        return True
    if not isinstance(error.filename, str):
        return False
    culprit = Path(os.path.realpath(error.filename))
    return culprit.is_relative_to(partial) or target.is_relative_to(culprit)


def _is_short_write(error: OSError) -> bool:
    """NumPy's ``tofile`` reports a full disk without an errno."""
    return error.errno is None and "requested and" in str(error)


def _explain(out: Path, error: OSError, target: Path) -> str:
    if error.errno in DISK_FULL or _is_short_write(error):
        existing = next(folder for folder in target.parents if folder.exists())
        free = shutil.disk_usage(existing).free / 2**20
        reason = error.strerror or "the disk is full"
        return f"{out} cannot be written ({reason}; {free:.0f} MiB are free there): make room or name another place"
    return f"{out} cannot be written ({error.strerror}): name a place that you may write to"
