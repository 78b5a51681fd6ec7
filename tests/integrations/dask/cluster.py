"""A real scheduler and real workers, each a process of its own, as people start them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import distributed

ROOT = Path(__file__).parents[3]


class Cluster:
    """A scheduler that is found by its ``file``; what workers say is in files beside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "scheduler.json"

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Let the scheduler run, until it is killed."""
        with self._process("scheduler", "--host", "127.0.0.1", "--port", "0") as process:
            while not self.file.exists():
                time.sleep(0.05)
            yield process

    @contextmanager
    def worker(self, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Let a worker run that has no nanny to start it again, until it is killed."""
        with self._process("worker", "--name", name, "--nthreads", "1", "--no-nanny") as process:
            while name not in self.busy():
                time.sleep(0.05)
            yield process

    def busy(self) -> dict[str, int]:
        """Return how many tasks each worker has been given and not done, by name."""
        with distributed.Client(scheduler_file=str(self.file), set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            given = client.processing()
        return {str(worker["name"]): len(given.get(address, ())) for address, worker in workers.items()}

    def wait_until_busy(self, name: str) -> None:
        """Return once the worker has tasks that are not done."""
        with distributed.Client(scheduler_file=str(self.file), set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            [address] = [address for address, worker in workers.items() if worker["name"] == name]
            deadline = time.monotonic() + 600
            while not client.processing().get(address):
                assert time.monotonic() < deadline, f"{name} never got a task"
                time.sleep(0.005)

    @contextmanager
    def _process(self, role: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-m", "dask", role, "--scheduler-file", str(self.file), "--no-dashboard", *arguments]
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with (self._folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **one_thread}, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()
