"""Runs whose inputs and outputs already lie on the device, so that only the model is timed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.sessions import Feeds, Session

_NOT_CAPTURED = -1
"""The graph id with which onnxruntime neither captures a CUDA graph nor replays one."""


def bind_run(session: Session, feeds: Feeds, *, graph_id: int | None = None) -> Callable[[], None]:
    """Return a call that runs ``session`` on ``feeds`` with IO binding, on the CPU as on CUDA.

    The inputs are copied to the device here, once, and the outputs stay there, in memory of fixed address. ``graph_id``,
    1 or more and another for each shape, is that of the CUDA graph which a session opened for CUDA graphs captures.

    Raises ModelError if the model does not run, here or in a call.
    """
    onnxruntime = import_onnxruntime()
    binding = session.ort.io_binding()
    inputs = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), session.provider, 0)
        for name, array in session.fitting(feeds).items()
    }
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.outputs:
        binding.bind_output(output.name, session.provider)

    def run(options: Any, held: object) -> None:
        with session.errors_told_in_one_line():
            session.ort.run_with_iobinding(binding, options)
            binding.synchronize_outputs()

    # The first run says how large the outputs are; what it allocated for them is what every later run writes to.
    run(_run_options(onnxruntime, None if graph_id is None else _NOT_CAPTURED), inputs)
    for output, value in zip(session.outputs, binding.get_outputs(), strict=True):
        binding.bind_ortvalue_output(output.name, value)
    # A binding reads inputs where they lie; that of older onnxruntimes does not keep them alive.
    return partial(run, _run_options(onnxruntime, graph_id), held=inputs)


def _run_options(onnxruntime: Any, graph_id: int | None) -> Any:
    options = onnxruntime.RunOptions()
    if graph_id is not None:
        options.add_run_config_entry("gpu_graph_id", str(graph_id))
    return options
