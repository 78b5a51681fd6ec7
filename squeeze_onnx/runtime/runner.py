"""A model that is open in some runtime, ready to be timed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from squeeze_onnx.runtime.latency import Run
from squeeze_onnx.runtime.sessions import Feeds, ValueSpec


@dataclass(frozen=True)
class RunnerOptions:
    """How a model is opened; ``threads`` None is the runtime's choice, ``use_tf32`` and ``cuda_graph`` are about CUDA."""

    provider: str = "cpu"
    threads: int | None = None
    use_tf32: bool = True
    cuda_graph: bool = False


@dataclass(frozen=True)
class Runner:
    """An open model.

    ``facts`` say with what it runs: ``name`` and ``version`` of the runtime, and what that tells of itself. ``bind`` takes inputs
    and which of several these are, counted from 0, runs them once, and returns what runs them again with nothing copied.
    """

    inputs: tuple[ValueSpec, ...]
    facts: Mapping[str, Any]
    bind: Callable[[Feeds, int], Run]
