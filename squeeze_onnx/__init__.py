"""Squeeze BERT-type ONNX models: random-matrix theory finds the signal in each weight, the rest goes.

>>> import squeeze_onnx
>>> report = squeeze_onnx.optimize("model/", "small/", squeeze_onnx.OptimizeConfig(keep=0.75))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from squeeze_onnx.support.version import __version__

if TYPE_CHECKING:
    from squeeze_onnx.compress.calibration_source import CalibrationConfig as CalibrationConfig
    from squeeze_onnx.compress.calibration_source import load_calibration as load_calibration
    from squeeze_onnx.compress.config import AnalyzeConfig as AnalyzeConfig
    from squeeze_onnx.compress.config import OptimizeConfig as OptimizeConfig
    from squeeze_onnx.compress.plan import Plan as Plan
    from squeeze_onnx.compress.plan import read_plan as read_plan
    from squeeze_onnx.compress.squeezing import SqueezeResult as SqueezeResult
    from squeeze_onnx.compress.squeezing import squeeze as squeeze
    from squeeze_onnx.data.calibration import CalibrationBatch as CalibrationBatch
    from squeeze_onnx.evaluate.bench_config import BenchConfig as BenchConfig
    from squeeze_onnx.evaluate.benchmark import bench as bench
    from squeeze_onnx.evaluate.validation import ValidateConfig as ValidateConfig
    from squeeze_onnx.evaluate.validation import validate as validate
    from squeeze_onnx.graph.io.model import load_model as load_model
    from squeeze_onnx.graph.io.model import save_model as save_model
    from squeeze_onnx.support.errors import GateError as GateError
    from squeeze_onnx.support.errors import LastLookError as LastLookError
    from squeeze_onnx.support.errors import SqueezeError as SqueezeError
    from squeeze_onnx.workflows.gate import GateConfig as GateConfig
    from squeeze_onnx.workflows.optimize import analyze as analyze
    from squeeze_onnx.workflows.optimize import optimize as optimize
    from squeeze_onnx.workflows.packaging.bundle import PackageConfig as PackageConfig
    from squeeze_onnx.workflows.packaging.bundle import package as package
    from squeeze_onnx.workflows.packaging.verification import verify as verify
    from squeeze_onnx.workflows.search import optimize_within as optimize_within

_HOME = {
    "AnalyzeConfig": "compress.config",
    "BenchConfig": "evaluate.bench_config",
    "CalibrationBatch": "data.calibration",
    "CalibrationConfig": "compress.calibration_source",
    "GateConfig": "workflows.gate",
    "GateError": "support.errors",
    "LastLookError": "support.errors",
    "OptimizeConfig": "compress.config",
    "PackageConfig": "workflows.packaging.bundle",
    "Plan": "compress.plan",
    "SqueezeError": "support.errors",
    "SqueezeResult": "compress.squeezing",
    "ValidateConfig": "evaluate.validation",
    "analyze": "workflows.optimize",
    "bench": "evaluate.benchmark",
    "load_calibration": "compress.calibration_source",
    "load_model": "graph.io.model",
    "optimize": "workflows.optimize",
    "optimize_within": "workflows.search",
    "package": "workflows.packaging.bundle",
    "read_plan": "compress.plan",
    "save_model": "graph.io.model",
    "squeeze": "compress.squeezing",
    "validate": "evaluate.validation",
    "verify": "workflows.packaging.verification",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - all of them are strings


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
