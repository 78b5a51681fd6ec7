"""Wall-clock seconds per stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Collects how long each named stage took; a stage entered twice adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as part of stage ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
