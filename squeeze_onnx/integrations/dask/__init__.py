"""Other machines: independent items of a stage are done by the workers of a Dask scheduler (`dask_track`).

Weights and other large arrays go by files that all machines see, never through the scheduler (`transport`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from squeeze_onnx.support.errors import MissingPackageError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.staging import scratch_beside

PATIENCE = 30.0
"""Seconds to wait for a scheduler, and for a worker where there is none."""


@contextmanager
def workers(
    scheduler: str | None, track: Track = silent, *, out: Path | None = None, patience: float = PATIENCE
) -> Iterator[Track]:
    """Yield a track that goes through independent items on the workers of ``scheduler``; ``track`` as it is if that is None.

    ``scheduler`` is an address (``tcp://host:8786``), the file that ``dask scheduler --scheduler-file`` writes, or ``local:N``
    for N processes of this machine that last as long as the block. What is too large for messages lies in a hidden folder
    beside ``out``, or in the current one, which all workers must see under the same path.

    Raises OptionError for another ``scheduler``, MissingPackageError without Dask, WorkerError if within ``patience`` seconds the
    scheduler cannot be reached or has no worker; and, of the track, if the last worker is lost.
    """
    if scheduler is None:
        yield track
        return
    try:
        from squeeze_onnx.integrations.dask.track import DaskTrack, connected  # noqa: PLC0415 - most have no Dask
    except ImportError as error:
        raise MissingPackageError(
            f"`scheduler` {scheduler} needs Dask, which is not installed: pip install 'squeeze-onnx[dask]'"
        ) from error
    with connected(scheduler, patience) as pool, _scratch(out) as folder:
        yield DaskTrack(pool, Path(folder).absolute(), track)


def _scratch(out: Path | None) -> AbstractContextManager[str | Path]:
    if out is not None:
        return scratch_beside(out)
    return TemporaryDirectory(prefix=".squeeze-onnx-", dir=".", ignore_cleanup_errors=True)
