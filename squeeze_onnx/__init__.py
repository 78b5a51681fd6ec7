"""Squeeze BERT-type ONNX models: random-matrix theory finds the signal in each weight, the rest goes.

>>> import squeeze_onnx
>>> report = squeeze_onnx.optimize("model/", "small/", squeeze_onnx.OptimizeConfig(keep=0.75))  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from squeeze_onnx.benchmark import BenchConfig as BenchConfig
    from squeeze_onnx.benchmark import bench as bench
    from squeeze_onnx.calibration import CalibrationBatch as CalibrationBatch
    from squeeze_onnx.calibration_source import CalibrationConfig as CalibrationConfig
    from squeeze_onnx.calibration_source import load_calibration as load_calibration
    from squeeze_onnx.config import AnalyzeConfig as AnalyzeConfig
    from squeeze_onnx.config import OptimizeConfig as OptimizeConfig
    from squeeze_onnx.errors import GateError as GateError
    from squeeze_onnx.errors import SqueezeError as SqueezeError
    from squeeze_onnx.gate import GateConfig as GateConfig
    from squeeze_onnx.graph.model import load_model as load_model
    from squeeze_onnx.graph.model import save_model as save_model
    from squeeze_onnx.packaging.bundle import PackageConfig as PackageConfig
    from squeeze_onnx.packaging.bundle import package as package
    from squeeze_onnx.packaging.verification import verify as verify
    from squeeze_onnx.pipeline import analyze as analyze
    from squeeze_onnx.pipeline import optimize as optimize
    from squeeze_onnx.plan import Plan as Plan
    from squeeze_onnx.plan import read_plan as read_plan
    from squeeze_onnx.search import optimize_within as optimize_within
    from squeeze_onnx.squeezing import SqueezeResult as SqueezeResult
    from squeeze_onnx.squeezing import squeeze as squeeze
    from squeeze_onnx.validation import ValidateConfig as ValidateConfig
    from squeeze_onnx.validation import validate as validate

__version__ = "0.1.0"

_HOME = {
    "AnalyzeConfig": "config",
    "BenchConfig": "benchmark",
    "CalibrationBatch": "calibration",
    "CalibrationConfig": "calibration_source",
    "GateConfig": "gate",
    "GateError": "errors",
    "OptimizeConfig": "config",
    "PackageConfig": "packaging.bundle",
    "Plan": "plan",
    "SqueezeError": "errors",
    "SqueezeResult": "squeezing",
    "ValidateConfig": "validation",
    "analyze": "pipeline",
    "bench": "benchmark",
    "load_calibration": "calibration_source",
    "load_model": "graph.model",
    "optimize": "pipeline",
    "optimize_within": "search",
    "package": "packaging.bundle",
    "read_plan": "plan",
    "save_model": "graph.model",
    "squeeze": "squeezing",
    "validate": "validation",
    "verify": "packaging.verification",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - all of them are strings


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
