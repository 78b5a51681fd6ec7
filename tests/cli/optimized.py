"""What `optimize` wrote, read back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.tiny_encoder import (
    ELIGIBLE_SITES,
    weights_of,
)

OPTIMIZED_FILES = {"model.onnx", "plan.json", "report.json", "report.html"}
WEIGHTS = tuple(f"{site}.weight" for site in ELIGIBLE_SITES)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def initializers(folder: Path) -> dict[str, np.ndarray]:
    return weights_of(onnx.load(folder / "model.onnx"))


def truncated(weight: np.ndarray, rank: int) -> np.ndarray:
    left, values, right = np.linalg.svd(weight.astype(np.float64))
    product: np.ndarray = (left[:, :rank] * values[:rank]) @ right[:rank]
    return product.astype(weight.dtype)
