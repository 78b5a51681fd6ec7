"""Arrays of several names, one after the other in a single vector, which is what an optimizer changes."""

from collections.abc import Mapping

import numpy as np


def as_vector(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return all entries of ``arrays``, copied, in the order of the names."""
    return np.concatenate([array.ravel() for array in arrays.values()])


def views(vector: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return views of ``vector``, in which arrays of ``shapes`` lie one after the other, by name."""
    found = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape))
        found[name] = vector[start:end].reshape(shape)
    return found
