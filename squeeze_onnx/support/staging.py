"""Output that appears whole or not at all: written to a temporary sibling, then renamed.

The sibling lies in the same folder, hence on the same file system, where a rename is one step. An exception, Ctrl-C or
SIGTERM leaves nothing behind; a power cut or ``kill -9`` at most hidden siblings, which the next run on the same output
clears: see `squeeze_onnx.support.reservation`.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from squeeze_onnx.support.errors import OutputError
from squeeze_onnx.support.given_names import called
from squeeze_onnx.support.ownership import somebody_elses
from squeeze_onnx.support.reservation import hidden_sibling, remove, reserved, write_errors_explained


@contextmanager
def staged_folder(out: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes ``out`` if the block succeeds and is removed if it does not.

    ``out`` is `reserved` meanwhile, and errors say ``out`` where a path in the folder would stand. With ``force``, an existing
    folder is replaced as a whole, once the new one is complete; all that lies in it must be empty folders and files that this
    program wrote.

    Raises OutputError if ``out`` exists (without ``force``), is not a folder, holds files of somebody else or cannot be replaced,
    if another run is writing it, and for a full or read-only disk, in the block too.
    """
    out = Path(out)
    with reserved(out) as target, _partial_of(target) as partial, called(str(out), partial, address=str(out)):
        _check_replaceable(out, target, force=force)
        partial.mkdir()
        yield partial
        _check_replaceable(out, target, force=force)  # another program may have been faster
        if target.exists():
            _replace_folder(target, partial)
        else:
            partial.rename(target)


@contextmanager
def staged_file(path: str | Path, *, force: bool = True) -> Iterator[Path]:
    """Yield a path to write, which becomes ``path`` if the block succeeds and is removed if it does not.

    Parents and errors as in `staged_folder`, but of two runs that write one file the last one wins; one that takes long to make
    is to be `reserved` first. A pipe or a device such as /dev/stdout is yielded as it is.
    """
    path = Path(path)
    with write_errors_explained(path):
        if path.is_dir():
            raise OutputError(f"{path} is a folder: name a file in it")
        if path.exists() and not path.is_file():
            yield path
            return
    with reserved(path, share=True) as target, _partial_of(target) as partial:
        if path.exists() and not force:
            raise OutputError(f"{path} exists already: name another file, or replace it with `force`")
        yield partial
        partial.replace(target)


@contextmanager
def scratch_beside(out: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``out``, which is `reserved` meanwhile; it is removed with all that it holds."""
    with reserved(out) as target, _partial_of(target) as partial:
        partial.mkdir()
        yield partial


@contextmanager
def _partial_of(target: Path) -> Iterator[Path]:
    """Yield a sibling to write, which is removed if it is still there afterwards."""
    partial = hidden_sibling(target, "partial", unique=True)
    try:
        yield partial
    finally:
        remove(partial)


def _check_replaceable(out: Path, target: Path, *, force: bool) -> None:
    """Raise OutputError unless ``target`` is absent or a folder that may be replaced."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{out} is not a folder: name another place")
    if not force:
        raise OutputError(f"{out} exists already: name another folder, or replace it with `force`")
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    for place in (Path.cwd(), home):
        if place.is_relative_to(target):
            raise OutputError(f"{out} holds {place}, which would go with it: name a folder of its own")
    if others := somebody_elses(target):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise OutputError(
            f"{out} holds {others[0]}{more}, which squeeze-onnx did not write there: move that away, or name another folder"
        )


def _replace_folder(target: Path, partial: Path) -> None:
    """Put ``partial`` in the place of ``target``, which stays if that fails."""
    aside = hidden_sibling(target, "replaced", unique=True)
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
