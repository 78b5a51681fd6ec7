"""One run at a time on one output, and nothing left of runs that were killed.

A run that writes ``NAME`` holds a lock on the hidden file ``.NAME.lock`` beside it (flock(2); msvcrt.locking on Windows). The
system lets go of it when the process ends, however it ends, so a lock file that a killed run left keeps nobody out. Whoever gets
the lock knows that no other run is at work, and clears what such a run left: ``.NAME.partial-…``, and ``.NAME.replaced-…``,
which is put back if the kill fell between the two renames of a replacement.
"""

import errno
import os
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from squeeze_onnx.support.errors import OutputError

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_OPENING = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
"""How a lock file is opened; not every system has the last two."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_reserved: ContextVar[frozenset[Path]] = ContextVar("_reserved", default=frozenset())
"""What open blocks of this thread hold: a block inside another one may reserve the same place."""


@contextmanager
def reserved(out: str | Path, *, share: bool = False) -> Iterator[Path]:
    """Keep the file or folder ``out`` for this run while the block lasts; yield the path it resolves to.

    Missing parents are made, and removed again where nothing came to lie in them. With ``share``, a place that another run
    holds may be written all the same: right for small files of which the last one written wins.

    Raises OutputError at once if another run holds ``out`` or it is a mount point; and for a full disk or a place that cannot be
    written, in the block too.
    """
    target = Path(os.path.realpath(out))
    if target in _reserved.get():
        with write_errors_explained(out):
            yield target
        return
    if os.path.ismount(target):
        raise OutputError(f"{out} is a mount point, which cannot be replaced: name a folder in it")
    missing: list[Path] = []
    with write_errors_explained(out), _sigterm_unwinds():
        try:
            missing += [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(hidden_sibling(target, "lock")) as alone:
                if not (alone or share):
                    raise OutputError(f"{out} is being written by another run: wait for it, or name another place")
                if alone:
                    _clear_leftovers(target)
                token = _reserved.set(_reserved.get() | {target})
                try:
                    yield target
                finally:
                    _reserved.reset(token)
        finally:
            for folder in missing:
                with suppress(OSError):  # it holds the output
                    folder.rmdir()


def hidden_sibling(target: Path, suffix: str, *, unique: bool = False) -> Path:
    """Return ``.NAME.SUFFIX`` beside ``target``, hence on its file system; if ``unique``, one that nobody else has."""
    return target.with_name(f".{target.name}.{suffix}{'-' + secrets.token_hex(4) if unique else ''}")


def remove(path: Path) -> None:
    """Remove a file or folder if it is there and can be removed: an error would hide the one that matters."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Yield whether the lock file ``path`` is this block's; the file is removed afterwards."""
    descriptor = _lock(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # while it is locked: whoever opened it before finds out, see _lock
            os.close(descriptor)


def _lock(path: Path) -> int | None:
    """Return a descriptor of the locked file ``path``, or None if another one is locked."""
    while True:
        descriptor = os.open(path, _OPENING, 0o666)
        try:
            _take(descriptor)
            if os.fstat(descriptor).st_nlink > 0:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner was just done and removed it: a lock on it keeps nobody out


def _clear_leftovers(target: Path) -> None:
    """Remove what killed runs left beside ``target``; what they were about to replace is put back if it is the only one."""
    leftover = re.compile(re.escape(f".{target.name}.") + r"(partial|replaced)-\w{8}")
    for path in sorted(target.parent.iterdir()):
        found = leftover.fullmatch(path.name)
        if found is None:
            continue
        if found[1] == "replaced" and not target.exists():
            path.rename(target)
        else:
            remove(path)


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


@contextmanager
def write_errors_explained(out: str | Path) -> Iterator[None]:
    """Turn what the system says of writing ``out`` into an OutputError; other errors pass."""
    target = Path(os.path.realpath(out))
    try:
        yield
    except OSError as error:
        if _concerns_output(error, target):
            raise OutputError(_explain(out, error, target)) from error
        raise


def _concerns_output(error: OSError, target: Path) -> bool:
    """Tell trouble with writing the output from trouble with something else, such as a file read in the block."""
    if is_disk_full(error) or error.errno == errno.EROFS:
        return True
    if not isinstance(error.filename, str):
        return False
    named = Path(error.filename)
    ours = f".{target.name}."
    for culprit in (Path(os.path.realpath(named)), Path(os.path.realpath(named.parent), named.name)):
        siblings = (path for path in (culprit, *culprit.parents) if path.parent == target.parent)
        if target.is_relative_to(culprit) or any(path.name.startswith(ours) for path in siblings):
            return True
    return False


def is_disk_full(error: OSError) -> bool:
    """Whether there was no room to write; NumPy's ``tofile`` reports that without an errno."""
    return error.errno in DISK_FULL or (error.errno is None and "requested and" in str(error))


def _explain(out: str | Path, error: OSError, target: Path) -> str:
    if is_disk_full(error):
        existing = next(folder for folder in target.parents if folder.exists())
        free = shutil.disk_usage(existing).free / 2**20
        reason = error.strerror or "the disk is full"
        return f"{out} cannot be written ({reason}; {free:.0f} MiB are free there): make room or name another place"
    return f"{out} cannot be written ({error.strerror}): name a place that you may write to"
