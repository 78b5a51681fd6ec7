"""A track that gives independent items to the workers of a Dask scheduler, and the rest to the track it is made of.

Each item is a task by itself. A task whose worker is lost is given to another one; tasks are pure, so the answer is the same. A
few items per worker are out at any time, and answers are taken in order: memory and scratch space do not grow with the model.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import dask.config
import distributed

from squeeze_onnx.integrations.dask.transport import Sender, pack_answer, unpack, unpack_answer
from squeeze_onnx.support.errors import OptionError, WorkerError
from squeeze_onnx.support.progress import Status, Track, no_status
from squeeze_onnx.support.version import __version__

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 6
"""Items out for each thread of a worker, at most; at half of that more go out, for every round of talk takes milliseconds.

They differ in size, and answers are taken in order, so one or two would leave workers idle.
"""

SELDOM = {
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.worker.profile.enabled": False,
}
"""Dask looks after itself up to a hundred times a second, for charts that nobody sees of a scheduler that is started here."""


@dataclass(frozen=True)
class Pool:
    """A connection to the scheduler that the user named ``scheduler``."""

    client: distributed.Client
    scheduler: str
    patience: float

    def threads(self) -> int:
        """Ask how many tasks the workers do at once."""
        return sum(self.client.nthreads().values())

    def wait_for_worker(self) -> None:
        """Return as soon as there is a worker; WorkerError if ``patience`` seconds bring none."""
        try:
            self.client.wait_for_workers(1, timeout=self.patience)
        except TimeoutError as error:
            raise WorkerError(
                f"the scheduler {self.scheduler} has no worker: start some with `dask worker`, on machines that see the model"
            ) from error

    def submit(self, messages: Sequence[bytes], folder: Path) -> list[distributed.Future]:
        """Hand tasks to some workers."""
        return list(self.client.map(_carry_out, messages, folder=folder, version=__version__, pure=False))

    def answer(self, future: distributed.Future) -> bytes:
        """Wait for the answer; raises what the task raised, and WorkerError if it cannot be carried out at all."""
        while True:
            try:
                answer: bytes = future.result(timeout=self.patience)
            except TimeoutError:
                if future.done():
                    raise
                self.wait_for_worker()
            except distributed.KilledWorker as error:
                raise WorkerError(
                    f"{error.allowed_failures + 1} workers of {self.scheduler} died of the same task, the last one was "
                    f"{error.last_worker.address}: look into its log, most likely it needs more memory"
                ) from error
            else:
                return answer

    @contextmanager
    def loss_explained(self) -> Iterator[None]:
        """Turn what Dask raises in the block when the scheduler is gone into a WorkerError."""
        try:
            yield
        except (distributed.CancelledError, distributed.comm.CommClosedError) as error:
            raise WorkerError(f"the scheduler {self.scheduler} went away: start it and this run again") from error


@contextmanager
def connected(scheduler: str, patience: float) -> Iterator[Pool]:
    """Yield a connection to ``scheduler``, which has a worker; see `squeeze_onnx.integrations.dask.workers`."""
    with _place(scheduler) as place:
        try:
            client = distributed.Client(**place, timeout=patience, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise WorkerError(
                f"no Dask scheduler answers at {scheduler} within {patience:g} seconds: start one with `dask scheduler`, or "
                "give `scheduler` local:N"
            ) from error
        with client:
            pool = Pool(client, scheduler, patience)
            pool.wait_for_worker()
            yield pool


@dataclass(frozen=True)
class DaskTrack(Track):
    """``folder`` is one that all workers see; ``track`` is told how far it got."""

    pool: Pool
    folder: Path
    track: Track

    def __call__(self, items: Sequence[T], description: str, status: Status = no_status) -> Iterable[T]:
        """Yield the items in order, here: each builds on what the ones before left."""
        return self.track(items, description, status)

    def ends_early(self, description: str) -> bool:
        """Say whether a stage stops on Ctrl-C with what it has so far."""
        return self.track.ends_early(description)

    def hands(self) -> int:
        """Say how many threads all workers have; one, if the last worker was lost just now."""
        return max(self.pool.threads(), 1)

    def map(self, task: Callable[[T], R], items: Sequence[T], description: str) -> Iterator[R]:
        """Yield ``task(item)`` in order of the items, done by the workers."""
        # A task that is given up may still write there.
        with self.pool.loss_explained(), TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            sender = Sender(Path(folder))
            waiting = iter(items)
            out: deque[distributed.Future] = deque()
            most = 0
            for _ in self.track(items, description):
                if 2 * len(out) <= most:
                    most = AHEAD * self.hands()
                    more = islice(waiting, max(most - len(out), 0))
                    out += self.pool.submit([sender.pack((task, item)) for item in more], Path(folder))
                yield unpack_answer(self.pool.answer(out.popleft()), sender.sites)


def _carry_out(message: bytes, folder: Path, version: str) -> bytes:
    """Do one task on a worker, which says its name if it is at fault."""
    try:
        _check_version(version)
        task, item = unpack(message)
        return pack_answer(task(item), folder)
    except WorkerError as error:
        raise WorkerError(f"the worker {distributed.get_worker().address} {error}") from error


def _check_version(version: str) -> None:
    if version != __version__:
        raise WorkerError(f"has squeeze-onnx {__version__}, not {version}: install the same there")


@contextmanager
def _place(scheduler: str) -> Iterator[dict[str, Any]]:
    """Yield how a client finds ``scheduler``, started here if it is a local one."""
    local = re.fullmatch(r"local:([1-9]\d*)", scheduler)
    if local:
        with (
            dask.config.set(SELDOM),
            distributed.LocalCluster(
                n_workers=int(local[1]),
                threads_per_worker=1,
                processes=True,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
        ):
            yield {"address": cluster.scheduler_address}
    elif "://" in scheduler:
        yield {"address": scheduler}
    elif Path(scheduler).is_file():
        yield {"scheduler_file": scheduler}
    else:
        raise OptionError(
            f"`scheduler` is an address such as tcp://host:8786, a scheduler file that exists, or local:N; got {scheduler}"
        )
