"""What workers do in tests: they import it, as they import the tasks of the package."""

import os
import time

import numpy as np

from squeeze_onnx.support.errors import ModelError


def double(array: np.ndarray) -> np.ndarray:
    return 2 * array


def slow_process(_: int) -> int:
    """Take a while, and return which process it took."""
    time.sleep(0.2)
    return os.getpid()


def refuse(name: str) -> None:
    raise ModelError(f"{name} is no model")


def die(_: int) -> None:
    """Take the worker down, as one that is out of memory goes."""
    os._exit(1)
