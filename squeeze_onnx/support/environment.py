"""Where a result came from: versions and machine, without importing anything heavy."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from squeeze_onnx.support.processor import instruction_sets, processor_name

PACKAGES = (
    *("squeeze-onnx", "numpy", "scipy", "onnx", "onnx-ir", "tokenizers"),
    *("onnxruntime", "onnxruntime-gpu", "openvino", "nncf"),
)


def created_now() -> str:
    """Return the time in UTC, to the second, as reports have it: 2026-01-31T12:00:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict[str, Any]:
    """Versions of what computed the result (installed packages only), the platform and its processors.

    ``instruction_sets`` are those that matter for products of matrices.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "processor": processor_name(),
        "instruction_sets": list(instruction_sets()),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    """Return the installed version of ``package``, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
