"""One way to open and run a model with ONNX Runtime, on every execution provider."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from squeeze_onnx.runtime.providers import PROVIDERS, import_onnxruntime, resolve_provider
from squeeze_onnx.runtime.reasons import reason_of, way_out
from squeeze_onnx.support.empty_arrays import all_as_declared
from squeeze_onnx.support.errors import ModelError, OptionError, ProviderError

OptimizationLevel = Literal["disabled", "basic", "extended", "all"]
Feeds = Mapping[str, np.ndarray]
NO_FEEDS: Feeds = MappingProxyType({})

_LEVELS: dict[str, str] = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_LOG_FATAL = 4
_LOG_ERROR = 3

_threads: ContextVar[int | None] = ContextVar("_threads", default=None)
"""What the innermost `session_threads` of this thread says."""


@dataclass(frozen=True)
class ValueSpec:
    """An input or output as onnxruntime declares it; a dimension is an int, or a name or None where it varies."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Session:
    """An open model.

    ``label`` is how messages call the model, ``ort`` the `onnxruntime.InferenceSession` itself.
    """

    label: str
    provider: str
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    ort: Any

    def run(self, output_names: Sequence[str] | None, feeds: Feeds) -> list[np.ndarray]:
        """Run once; ``None`` asks for every output. Raises ModelError with onnxruntime's reason in one line."""
        with self.errors_told_in_one_line(feeds):
            results: list[np.ndarray] = self.ort.run(output_names, self.fitting(feeds))
        return results

    def fitting(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return ``feeds`` with empty ones, the cache of no earlier tokens, as wide as this model has its heads."""
        return all_as_declared(feeds, {value.name: value.shape for value in self.inputs})

    def errors_told_in_one_line(self, feeds: Feeds = NO_FEEDS) -> AbstractContextManager[None]:
        """Turn what onnxruntime raises in the block, in a run on ``feeds``, into a ModelError."""
        return reported_errors(f"{self.label} does not run on {self.provider}", feeds)


@contextmanager
def reported_errors(what: str, feeds: Feeds = NO_FEEDS) -> Iterator[None]:
    """Turn what onnxruntime raises in the block into a ModelError: ``what`` failed, its reason in one line, and what helps."""
    errors: tuple[type[Exception], ...] = (*_ort_errors(), RuntimeError, ValueError)
    try:
        yield
    except errors as error:
        reason = reason_of(error)
        raise ModelError(f"{what}: {reason}{way_out(reason, feeds)}") from error


@contextmanager
def session_threads(threads: int | None) -> Iterator[None]:
    """Give ``threads`` intra-op threads to every session that the block opens without saying how many; None changes nothing.

    Stages open sessions of many parts of a model; a run has one number of threads for all of them. Raises OptionError for fewer
    than one.
    """
    _check_threads(threads)
    token = _threads.set(_threads.get() if threads is None else threads)
    try:
        yield
    finally:
        _threads.reset(token)


def threads_of_sessions() -> int | None:
    """Return what `session_threads` says here: other machines that do a part of the work are told."""
    return _threads.get()


def _check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise OptionError(f"`threads` is a positive integer; got {threads}")


@dataclass(frozen=True)
class SessionSettings:
    """How a model is opened.

    ``threads`` is the number of intra-op threads, None for what `session_threads` says, or else onnxruntime's choice (the
    physical cores). ``use_tf32`` and ``cuda_graph`` are about CUDA only, see `resolve_provider`. ``memory_pattern`` plans a block
    of memory for each shape of the inputs, beside what the first run on it took: leave it out where values are large and shapes
    are many. With
    ``precise_integers`` products of int8 do not saturate on x86 processors without VNNI, where they do so for speed by default.
    Without ``stop_spinning`` the threads spin for a while after a run, as is onnxruntime's default: the next run begins earlier,
    and everything else on these processors is slower meanwhile. Without ``prepacking``, and with the optimization level
    "disabled", weights that lie beside the .onnx file stay there, mapped.
    """

    threads: int | None = None
    optimization_level: OptimizationLevel = "all"
    use_tf32: bool = True
    cuda_graph: bool = False
    memory_pattern: bool = True
    precise_integers: bool = False
    stop_spinning: bool = True
    prepacking: bool = True

    def __post_init__(self) -> None:
        _check_threads(self.threads)
        if self.optimization_level not in _LEVELS:
            raise OptionError(
                f"the graph optimization level is one of {', '.join(_LEVELS)}; got {self.optimization_level!r}"
            )


USUAL = SessionSettings()


def open_session(
    model: str | Path | bytes, provider: str = "cpu", settings: SessionSettings = USUAL, *, label: str | None = None
) -> Session:
    """Open a model file, or the bytes of one, on ``cpu`` or ``cuda``; messages call it by ``label``, or else by its path.

    Raises MissingPackageError without onnxruntime, ProviderError when the provider is absent or cannot start (it never
    falls back to the CPU in silence), ModelError with onnxruntime's reason when the model cannot be opened.
    """
    onnxruntime = import_onnxruntime()
    wanted = resolve_provider(provider, use_tf32=settings.use_tf32, cuda_graph=settings.cuda_graph)
    label = label or ("the model in memory" if isinstance(model, bytes) else str(model))
    if provider == "cuda":
        # Finds the CUDA and cuDNN libraries that pip installed; without it only those on the library path are seen. It
        # prints what it misses, and stdout may be a JSON file.
        with redirect_stdout(sys.stderr):
            onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            _session_options(onnxruntime, provider, settings),
            providers=wanted,
            enable_fallback=0,
        )
    except _ort_errors() as error:
        reason = reason_of(error)
        reason = reason if isinstance(model, bytes) else reason.replace(str(model), label)
        raise ModelError(f"onnxruntime cannot open {label} on {provider}: {reason}") from error
    except (RuntimeError, ValueError) as error:
        raise ProviderError(f"`provider` {provider}: {PROVIDERS[provider]} cannot start: {reason_of(error)}") from error
    started = session.get_providers()
    if started[0] != PROVIDERS[provider]:
        raise ProviderError(
            f"`provider` {provider}: {PROVIDERS[provider]} is in this onnxruntime but could not start (driver, CUDA or "
            f"cuDNN missing or of another version); it would have run on {started[0]}"
        )
    return Session(
        label=label,
        provider=provider,
        inputs=tuple(ValueSpec(value.name, value.type, tuple(value.shape)) for value in session.get_inputs()),
        outputs=tuple(ValueSpec(value.name, value.type, tuple(value.shape)) for value in session.get_outputs()),
        ort=session,
    )


def _session_options(onnxruntime: Any, provider: str, settings: SessionSettings) -> Any:
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = settings.memory_pattern
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[settings.optimization_level])
    # What goes wrong on the CPU arrives as an exception, so the log would only say it twice. Why CUDA does not start
    # stands nowhere but in the log.
    options.log_severity_level = _LOG_FATAL if provider == "cpu" else _LOG_ERROR
    if settings.precise_integers:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if settings.stop_spinning:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if not settings.prepacking:
        options.add_session_config_entry("session.disable_prepacking", "1")
    threads = _threads.get() if settings.threads is None else settings.threads
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _ort_errors() -> tuple[type[Exception], ...]:
    """Return every exception class of onnxruntime's binding: they share no base below Exception."""
    state = import_onnxruntime().capi.onnxruntime_pybind11_state
    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
