"""A session whose inputs and outputs stay where they are in memory, run after run."""

from collections.abc import Mapping

import numpy as np

from squeeze_onnx.runtime.sessions import Feeds, Session


class BoundSession:
    """Runs ``session`` on ``inputs`` as they are at the time, and writes ``outputs`` in place.

    All arrays are C-contiguous, of the types and shapes that the graph has, and must not be replaced, only changed. On the CPU
    nothing is copied.
    """

    def __init__(self, session: Session, inputs: Feeds, outputs: Mapping[str, np.ndarray]) -> None:
        self._session = session
        self._inputs = dict(inputs)
        self._outputs = dict(outputs)
        self._binding = session.ort.io_binding()
        for name, array in self._outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self, feeds: Feeds) -> None:
        """Run once on ``inputs`` and ``feeds``. Raises ModelError with onnxruntime's reason in one line."""
        with self._session.errors_told_in_one_line():
            # Bound anew each time: a provider with memory of its own copies what is bound when it is bound.
            for name, array in {**self._inputs, **self._session.fitting(feeds)}.items():
                self._binding.bind_cpu_input(name, array)
            self._session.ort.run_with_iobinding(self._binding)
