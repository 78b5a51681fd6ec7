"""Forms of a weight that the program does not write: what each leaves of a layer's output at equal bytes.

A weight W (in, out) stands behind L, a root of the second moment of its inputs: the error of Ŵ is ‖L(W − Ŵ)‖² over ‖LW‖². A form
is a function of the weights that are taken together, their roots and the bytes that all of them may have; it returns the squared
error of each. Numbers take four bytes; what is shared is counted once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

FLOAT = 4

Weights = Sequence[np.ndarray]
Form = Callable[[Weights, Weights, float], list[float]]
"""(weights (in, out), roots (in, in), bytes for all) → squared errors."""


@dataclass(frozen=True)
class Grouped:
    """A form, and how many layers it takes together."""

    form: Form
    layers: int = 1


def two_factors(weights: Weights, roots: Weights, allowed: float) -> list[float]:
    """Truncation of LW (DRONE, 2021), the form that the program has."""
    errors = []
    for weight, root in zip(weights, roots, strict=True):
        rows, columns = weight.shape
        rank = int(allowed / len(weights) / FLOAT / (rows + columns))
        errors.append(float(np.sum(np.square(scipy.linalg.svdvals(root @ weight)[rank:]))))
    return errors


def shared_basis(weights: Weights, roots: Weights, allowed: float) -> list[float]:
    """One left factor for the same role of several layers (Basis Sharing, 2024), whitened by all their moments together.

    The right factor of each is the least-squares one for its own inputs.
    """
    rows, columns = weights[0].shape
    rank = min(int(allowed / FLOAT / (rows + len(weights) * columns)), rows)
    together = scipy.linalg.cholesky(np.sum([root.T @ root for root in roots], axis=0))
    found = scipy.linalg.svd(together @ np.hstack(weights), full_matrices=False)[0][:, :rank]
    basis = scipy.linalg.solve_triangular(together, found)
    errors = []
    for weight, root in zip(weights, roots, strict=True):
        seen = np.linalg.qr(root @ basis)[0]
        aim = root @ weight
        errors.append(float(np.sum(np.square(aim - seen @ (seen.T @ aim)))))
    return errors


FORMS: Mapping[str, Grouped] = {
    "two factors": Grouped(two_factors),
    "a basis shared by two layers": Grouped(shared_basis, layers=2),
    "a basis shared by three layers": Grouped(shared_basis, layers=3),
}
"""Label → form, compared at the same share of the bytes that the weights have as floats."""
