"""The runtimes that a model can be timed in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.runtime.binding import bind_run
from squeeze_onnx.runtime.latency import Run
from squeeze_onnx.runtime.openvino import import_openvino, open_in_openvino
from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.runner import Runner, RunnerOptions
from squeeze_onnx.runtime.sessions import Feeds, SessionSettings, open_session


@dataclass(frozen=True)
class Runtime:
    """What imports a runtime, and what opens a model in it; both raise MissingPackageError where it is not installed."""

    load: Callable[[], Any]
    open: Callable[[Path, RunnerOptions], Runner]


def open_in_onnxruntime(path: Path, options: RunnerOptions) -> Runner:
    """Open the model at ``path``, its threads spinning as they do by default; raises what `open_session` raises."""
    session = open_session(
        path,
        options.provider,
        SessionSettings(
            threads=options.threads, use_tf32=options.use_tf32, cuda_graph=options.cuda_graph, stop_spinning=False
        ),
    )

    def bind(feeds: Feeds, number: int) -> Run:
        return bind_run(session, feeds, graph_id=number + 1 if options.cuda_graph else None)

    facts = {
        "name": "onnxruntime",
        "version": import_onnxruntime().__version__,
        "provider_options": session.ort.get_provider_options(),
    }
    return Runner(session.inputs, facts, bind)


RUNTIMES = {
    "onnxruntime": Runtime(import_onnxruntime, open_in_onnxruntime),
    "openvino": Runtime(import_openvino, open_in_openvino),
}
"""Name → runtime."""
