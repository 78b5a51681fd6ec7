"""Where a result came from: versions and machine, without importing anything heavy."""

import os
import platform
from importlib import metadata
from typing import Any

PACKAGES = ("squeeze-onnx", "numpy", "scipy", "onnx", "onnx-ir", "tokenizers", "onnxruntime", "onnxruntime-gpu")


def environment() -> dict[str, Any]:
    """Versions of what computed the result (installed packages only), the platform and the number of processors."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    """Return the installed version of ``package``, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
