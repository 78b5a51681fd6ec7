"""When a process has come to rest: the threads of a runtime go on spinning for a while after a run, and slow down others."""

import time
from collections.abc import Callable

from squeeze_onnx.support.errors import MachineError

_LOOK = 0.004
"""Seconds between two looks at the time that the process has computed."""

_AT_REST = 0.1
"""Of a processor: a process that takes less is at rest."""

_PATIENCE = 2.0
"""Seconds. ONNX Runtime's threads spin for milliseconds, OpenMP's for up to 200."""


def rest_until_idle(
    *,
    computed: Callable[[], float] = time.process_time,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once no thread of this process computes any more.

    Raises MachineError if they have not stopped after two seconds: beside such a process nothing can be timed.
    """
    begin = clock()
    while clock() - begin < _PATIENCE:
        before, busy = clock(), computed()
        sleep(_LOOK)
        if computed() - busy < _AT_REST * (clock() - before):
            return
    raise MachineError(
        f"threads go on computing {_PATIENCE:g} s after a run, so that no other model can be timed beside them: unset "
        "OMP_WAIT_POLICY and KMP_BLOCKTIME, or time one model at a time"
    )
