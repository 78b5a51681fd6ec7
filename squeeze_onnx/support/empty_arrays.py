"""Arrays without entries, such as the keys and values of no earlier tokens: they can take any shape that has none either."""

from collections.abc import Mapping, Sequence

import numpy as np


def as_declared(array: np.ndarray, shape: Sequence[object] | None) -> np.ndarray:
    """Return an empty ``array`` with the sizes that ``shape`` fixes, those that are integers; any other as it is."""
    if array.size or shape is None or len(shape) != array.ndim:
        return array
    sizes = tuple(size if isinstance(size, int) else old for size, old in zip(shape, array.shape, strict=True))
    return array if sizes == array.shape or 0 not in sizes else np.zeros(sizes, array.dtype)


def all_as_declared(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[object] | None]
) -> dict[str, np.ndarray]:
    """Return all ``arrays`` as `as_declared` does, by name; those without a shape as they are."""
    return {name: as_declared(array, shapes.get(name)) for name, array in arrays.items()}
