"""What this machine has and what is missing for what: the facts behind `squeeze-onnx doctor`."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from squeeze_onnx.runtime.providers import PROVIDERS, import_onnxruntime
from squeeze_onnx.support.environment import environment
from squeeze_onnx.support.errors import MissingPackageError

FORMAT = "squeeze-onnx/doctor/1"


@dataclass(frozen=True)
class Ability:
    """Something that takes a module which may be absent: ``what`` it is, and how to get it."""

    what: str
    module: str
    remedy: str

    @property
    def present(self) -> bool:
        """Say whether the module is installed; it is not imported, only the package that it lies in."""
        try:
            return find_spec(self.module) is not None
        except ModuleNotFoundError:  # not even that package
            return False


ABILITIES = (
    Ability("run models: validate, bench, package, `calibration`", "onnxruntime", "pip install 'squeeze-onnx[cpu]'"),
    Ability("read `data` in parquet", "pyarrow", "pip install 'squeeze-onnx[parquet]'"),
    Ability("read `data` from a hub", "datasets", "pip install 'squeeze-onnx[hub]'"),
    Ability("read MODEL from a hub: hf://org/name", "huggingface_hub", "pip install 'squeeze-onnx[hub]'"),
    Ability("work on a Dask cluster: `scheduler`", "distributed", "pip install 'squeeze-onnx[dask]'"),
    Ability("bench `against` fused", "sympy", "pip install sympy"),
    Ability("bench `against` openvino", "openvino", "pip install 'squeeze-onnx[openvino]'"),
    Ability("demo, which downloads by pip", "pip", "python -m ensurepip"),
    Ability("optimum-cli export squeeze", "optimum.onnxruntime", "pip install 'squeeze-onnx[optimum]'"),
)


def examine() -> dict[str, Any]:
    """Return plain values: versions and machine, execution providers, and every ability with what it takes."""
    return {
        "format": FORMAT,
        "environment": environment(),
        "providers": _providers(),
        "abilities": [
            {"what": ability.what, "present": ability.present, "remedy": ability.remedy} for ability in ABILITIES
        ],
    }


def _providers() -> Mapping[str, bool]:
    """Return which of our execution providers the installed onnxruntime was built with."""
    try:
        available = import_onnxruntime().get_available_providers()
    except MissingPackageError:
        available = []
    return {name: full_name in available for name, full_name in PROVIDERS.items()}
