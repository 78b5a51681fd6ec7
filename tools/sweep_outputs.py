"""What a model returns, by ONNX Runtime or, where that has no kernels, the reference evaluator, and whether others return it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ml_dtypes import bfloat16
from onnx.reference import ReferenceEvaluator

_TOLERANCES = {
    onnx.TensorProto.BFLOAT16: 0.1,
    onnx.TensorProto.FLOAT16: 3e-2,
    onnx.TensorProto.INT8: 3e-2,
    onnx.TensorProto.UINT8: 3e-2,
}
"""What numbers of few bits may move by, as a share of the norm: a last bit more or less in each bfloat16 weight of a tiny
DistilBERT moves it by 0.03 to 0.05, and two factors are rounded where one weight was."""

_EXACT = 1e-5


class BrokenError(Exception):
    """A graph that does not run any more."""


Runner = Callable[[Path, Mapping[str, np.ndarray]], Sequence[Any]]
"""Returns the outputs of one run; raises BrokenError."""


@dataclass(frozen=True, eq=False)
class Expected:
    """What the original returns, what ran it, whether it does so again, and how near one has to come to it."""

    run: Runner
    feeds: Mapping[str, np.ndarray]
    outputs: Sequence[Any]
    steady: bool
    tolerance: float

    @classmethod
    def of(cls, folder: Path) -> "Expected | None":
        """Run the original twice; None if it has no inputs, or neither onnxruntime nor the reference evaluator runs it."""
        if not (folder / "inputs.npz").exists():
            return None
        with np.load(folder / "inputs.npz") as archive:
            feeds = dict(archive)
        path = folder / "model.onnx"
        kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
        for run in (_run, _evaluate):
            try:
                outputs, again = run(path, feeds), run(path, feeds)
            except BrokenError:
                continue
            steady = not differences(outputs, again, 0.0)
            tolerance = max((_TOLERANCES.get(kind, _EXACT) for kind in kinds), default=_EXACT)
            return cls(run, feeds, outputs, steady, tolerance)
        return None


def differences(actual: Sequence[Any], expected: Sequence[Any], tolerance: float) -> str:
    """Say where outputs differ by more than ``tolerance`` of their norm; nothing if they do not."""
    for index, (found, wanted) in enumerate(zip(actual, expected, strict=True)):
        if not isinstance(wanted, np.ndarray) or not (wanted.dtype.kind in "fiub" or wanted.dtype == bfloat16):
            if repr(found) != repr(wanted):
                return f"output {index} is another one"
            continue
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            return f"output {index} is {found.dtype} {found.shape}, not {wanted.dtype} {wanted.shape}"
        one, two = (np.nan_to_num(array.astype(np.float64), posinf=1e30, neginf=-1e30) for array in (found, wanted))
        apart, size = float(np.linalg.norm(one - two)), float(np.linalg.norm(two))
        if apart > tolerance * max(1.0, size):
            return f"output {index} is off by {apart:.3g} of {size:.3g}"
    return ""


def _run(path: Path, feeds: Mapping[str, np.ndarray]) -> Sequence[Any]:
    """Run with onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = {value.name for value in session.get_inputs()}
        outputs: Sequence[Any] = session.run(None, {name: array for name, array in feeds.items() if name in names})
    except Exception as error:  # onnxruntime raises classes of many names
        raise BrokenError(" ".join(str(error).split())[:400]) from error
    return outputs


def _evaluate(path: Path, feeds: Mapping[str, np.ndarray]) -> Sequence[Any]:
    """Run with the reference evaluator of the onnx package, which knows types that onnxruntime has no kernels for."""
    try:
        evaluator = ReferenceEvaluator(str(path))
        names = set(evaluator.input_names)
        outputs: Sequence[Any] = evaluator.run(None, {name: array for name, array in feeds.items() if name in names})
    except Exception as error:  # whatever NumPy raises
        raise BrokenError(" ".join(str(error).split())[:400]) from error
    return outputs
