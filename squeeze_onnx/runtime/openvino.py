"""OpenVINO, as the opponent on x86 processors: how it is imported, and a model open in it.

It is imported in processes of its own only (`runtime.timing_process`, `runtime.openvino_conversion`), with no threads of another
runtime beside its own, and without its telemetry, which is on unless a user has opted out.
"""

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from squeeze_onnx.runtime.latency import Run
from squeeze_onnx.runtime.runner import Runner, RunnerOptions
from squeeze_onnx.runtime.sessions import Feeds, ValueSpec
from squeeze_onnx.support.errors import MissingPackageError, ModelError, OptionError

INSTALL = "pip install 'squeeze-onnx[openvino]'"
_LONGEST_REASON = 300


def import_openvino() -> Any:
    """Import openvino, without its telemetry; raises MissingPackageError naming the extra when it is not installed."""
    _leave_out("openvino_telemetry")  # without it nothing is sent
    try:
        import openvino  # noqa: PLC0415, TID251
    except ImportError as error:
        raise MissingPackageError(f"openvino is not installed: {INSTALL}") from error
    return openvino


def import_nncf() -> Any:
    """Import nncf, which quantizes for OpenVINO; as `import_openvino`."""
    _leave_out("openvino_telemetry")
    _leave_out("torch")  # imported where it is installed, though models of OpenVINO do not need it
    try:
        import nncf  # noqa: PLC0415, TID251
    except ImportError as error:
        raise MissingPackageError(f"nncf is not installed: {INSTALL}") from error
    return nncf


def open_in_openvino(path: Path, options: RunnerOptions) -> Runner:
    """Open the model at ``path``, OpenVINO's .xml or an .onnx file, on the CPU, to answer one request at a time.

    What precision it computes in beside int8 is OpenVINO's choice: bfloat16 where the processor multiplies that. Raises
    ModelError with its reason if it cannot open the model.
    """
    if options.provider != "cpu":
        raise OptionError(f"OpenVINO is timed on the CPU; leave out `provider` {options.provider}")
    openvino = import_openvino()
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot open {path}: {reason_of(error)}") from error
    inputs = tuple(
        ValueSpec(
            each.any_name,
            f"tensor({each.element_type.to_dtype().name})",
            tuple(_extent(dimension) for dimension in each.partial_shape),
        )
        for each in compiled.inputs
    )

    def bind(feeds: Feeds, number: int) -> Run:
        request = compiled.create_infer_request()
        held = {name: openvino.Tensor(array, shared_memory=True) for name, array in feeds.items()}
        for name, tensor in held.items():
            request.set_tensor(name, tensor)
        run = partial(_infer, request, held)
        try:
            run()
        except RuntimeError as error:
            raise ModelError(f"{path} does not run in OpenVINO: {reason_of(error)}") from error
        return run

    return Runner(inputs, _facts(openvino, compiled), bind)


def _infer(request: Any, held: object) -> None:
    """Run once on the tensors that ``request`` was given; ``held`` keeps them, and outputs stay where they are."""
    request.infer(share_outputs=True)


def reason_of(error: Exception) -> str:
    """Return OpenVINO's message in one line, from its end, where the reason stands."""
    line = " ".join(str(error).split())
    return line if len(line) <= _LONGEST_REASON else "… " + line[-_LONGEST_REASON:]


def _facts(openvino: Any, compiled: Any) -> dict[str, Any]:
    precision = compiled.get_property("INFERENCE_PRECISION_HINT")
    return {
        "name": "openvino",
        "version": openvino.__version__,
        "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
        "float_type": getattr(precision, "to_string", lambda: str(precision))(),
    }


def _extent(dimension: Any) -> int | None:
    return None if dimension.is_dynamic else int(dimension.get_length())


def _leave_out(package: str) -> None:
    """Have ``package`` look as if it were not installed, unless it is imported already."""
    sys.modules.setdefault(package, cast(ModuleType, None))  # Python's own mark of what must not be imported
