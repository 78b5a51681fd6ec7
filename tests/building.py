"""One build of the same thing at a time: tests run in several processes that share a cache."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def building(cache: Path, name: str) -> Iterator[None]:
    """Wait until no other process builds ``name`` in ``cache``."""
    with (cache / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
