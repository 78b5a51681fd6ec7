"""Squeeze transformer encoders exported as ONNX: random-matrix theory finds the signal in each weight, the rest goes.

>>> import squeeze_onnx
>>> report = squeeze_onnx.optimize("model/", "small/", keep=0.5, calibration="sentences.txt")  # doctest: +SKIP
>>> report  # doctest: +SKIP
Report(size 90.4 MB → 69.1 MB (76%), method whiten, weights 36 of 36 rewritten, precision fp32, measured on 256 texts)

Functions: analyze, optimize, optimize_within, validate, bench, package, verify; load_model, load_calibration, squeeze,
save_model, read_plan. Configs hold what options are. Whatever is wrong with what is given is a SqueezeError.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from squeeze_onnx.support.suggestions import did_you_mean
from squeeze_onnx.support.version import __version__

if TYPE_CHECKING:
    from squeeze_onnx.compress.calibration_source import CalibrationConfig as CalibrationConfig
    from squeeze_onnx.compress.config import AnalyzeConfig as AnalyzeConfig
    from squeeze_onnx.compress.config import OptimizeConfig as OptimizeConfig
    from squeeze_onnx.compress.held_back import Calibration as Calibration
    from squeeze_onnx.compress.plan import Plan as Plan
    from squeeze_onnx.compress.planned_site import PlannedSite as PlannedSite
    from squeeze_onnx.compress.settings import Budget as Budget
    from squeeze_onnx.compress.settings import Distillation as Distillation
    from squeeze_onnx.compress.settings import FewerTokens as FewerTokens
    from squeeze_onnx.compress.settings import KeptWords as KeptWords
    from squeeze_onnx.compress.settings import Output as Output
    from squeeze_onnx.compress.settings import Reading as Reading
    from squeeze_onnx.compress.settings import Sites as Sites
    from squeeze_onnx.compress.settings import Spectra as Spectra
    from squeeze_onnx.compress.settings import Steps as Steps
    from squeeze_onnx.compress.settings import Vectors as Vectors
    from squeeze_onnx.compress.squeeze_result import SqueezeResult as SqueezeResult
    from squeeze_onnx.data.calibration import CalibrationBatch as CalibrationBatch
    from squeeze_onnx.evaluate.bench_config import BenchConfig as BenchConfig
    from squeeze_onnx.evaluate.benchmark import Benchmark as Benchmark
    from squeeze_onnx.evaluate.validate_config import ValidateConfig as ValidateConfig
    from squeeze_onnx.evaluate.validation import Validation as Validation
    from squeeze_onnx.graph.io.model import OnnxModel as OnnxModel
    from squeeze_onnx.graph.match.sites import MatMulSite as MatMulSite
    from squeeze_onnx.learning.checkpoints import CheckpointConfig as CheckpointConfig
    from squeeze_onnx.report.result import Report as Report
    from squeeze_onnx.support.errors import GateError as GateError
    from squeeze_onnx.support.errors import LastLookError as LastLookError
    from squeeze_onnx.support.errors import SqueezeError as SqueezeError
    from squeeze_onnx.support.progress import Track as Track
    from squeeze_onnx.workflows.gate import GateConfig as GateConfig
    from squeeze_onnx.workflows.interface.files import load_calibration as load_calibration
    from squeeze_onnx.workflows.interface.files import load_model as load_model
    from squeeze_onnx.workflows.interface.files import package as package
    from squeeze_onnx.workflows.interface.files import read_plan as read_plan
    from squeeze_onnx.workflows.interface.files import save_model as save_model
    from squeeze_onnx.workflows.interface.files import verify as verify
    from squeeze_onnx.workflows.interface.judging import bench as bench
    from squeeze_onnx.workflows.interface.judging import validate as validate
    from squeeze_onnx.workflows.interface.squeezing import analyze as analyze
    from squeeze_onnx.workflows.interface.squeezing import optimize as optimize
    from squeeze_onnx.workflows.interface.squeezing import optimize_within as optimize_within
    from squeeze_onnx.workflows.interface.squeezing import squeeze as squeeze
    from squeeze_onnx.workflows.packaging.bundle import PackageConfig as PackageConfig
    from squeeze_onnx.workflows.packaging.verification import Bundle as Bundle

_HOME = {
    "AnalyzeConfig": "compress.config",
    "BenchConfig": "evaluate.bench_config",
    "Benchmark": "evaluate.benchmark",
    "Budget": "compress.settings",
    "Bundle": "workflows.packaging.verification",
    "Calibration": "compress.held_back",
    "CalibrationBatch": "data.calibration",
    "CalibrationConfig": "compress.calibration_source",
    "CheckpointConfig": "learning.checkpoints",
    "Distillation": "compress.settings",
    "FewerTokens": "compress.settings",
    "KeptWords": "compress.settings",
    "GateConfig": "workflows.gate",
    "GateError": "support.errors",
    "LastLookError": "support.errors",
    "MatMulSite": "graph.match.sites",
    "OnnxModel": "graph.io.model",
    "OptimizeConfig": "compress.config",
    "Output": "compress.settings",
    "PackageConfig": "workflows.packaging.bundle",
    "Plan": "compress.plan",
    "PlannedSite": "compress.planned_site",
    "Reading": "compress.settings",
    "Report": "report.result",
    "Sites": "compress.settings",
    "Spectra": "compress.settings",
    "SqueezeError": "support.errors",
    "SqueezeResult": "compress.squeeze_result",
    "Steps": "compress.settings",
    "Track": "support.progress",
    "ValidateConfig": "evaluate.validate_config",
    "Validation": "evaluate.validation",
    "Vectors": "compress.settings",
    "analyze": "workflows.interface.squeezing",
    "bench": "workflows.interface.judging",
    "load_calibration": "workflows.interface.files",
    "load_model": "workflows.interface.files",
    "optimize": "workflows.interface.squeezing",
    "optimize_within": "workflows.interface.squeezing",
    "package": "workflows.interface.files",
    "read_plan": "workflows.interface.files",
    "save_model": "workflows.interface.files",
    "squeeze": "workflows.interface.squeezing",
    "validate": "workflows.interface.judging",
    "verify": "workflows.interface.files",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - all of them are strings


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOME:
        near = "" if name.startswith("_") else did_you_mean(name, _HOME)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{near}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names, which `help` shows."""
    return sorted([*__all__, "__doc__", "__file__", "__name__", "__path__"])
