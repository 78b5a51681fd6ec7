"""Forms of a weight that the program does not write: what each leaves of a layer's output at equal bytes.

A weight W (in, out) stands behind L, a root of the second moment of its inputs: the error of Ŵ is ‖L(W − Ŵ)‖² over ‖LW‖². A form
is a function of the weights that are taken together, their roots and the bytes that all of them may have; it returns the squared
error of each. Numbers take four bytes unless a form says otherwise; what is shared is counted once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy.linalg
from sklearn.linear_model import orthogonal_mp_gram

FLOAT = 4

Weights = Sequence[np.ndarray]
Form = Callable[[Weights, Weights, float], list[float]]
"""(weights (in, out), roots (in, in), bytes for all) → squared errors."""


@dataclass(frozen=True)
class Grouped:
    """A form, and how many layers it takes together."""

    form: Form
    layers: int = 1


def two_factors(weights: Weights, roots: Weights, allowed: float, *, entry: float = FLOAT) -> list[float]:
    """Truncation of LW (DRONE, 2021), the form that the program has."""
    errors = []
    for weight, root in zip(weights, roots, strict=True):
        rows, columns = weight.shape
        rank = int(allowed / len(weights) / entry / (rows + columns))
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


def kronecker_sum(weights: Weights, roots: Weights, allowed: float) -> list[float]:
    """The best of Σ Aᵢ ⊗ Bᵢ over sizes of A near the square (Van Loan & Pitsianis 1993; ALoRE has such forms).

    The rearranged matrix is truncated in the plain norm: the moment does not rearrange with it.
    """
    errors = []
    for weight, root in zip(weights, roots, strict=True):
        rows, columns = weight.shape
        tried = [
            _kronecker(weight, root, (m, n), allowed / len(weights))
            for m in _divisors(rows)
            for n in _divisors(columns)
            if 1 < m * n < rows * columns and 0.4 < m * n / sqrt(rows * columns) < 2.5
        ]
        errors.append(min(tried))
    return errors


def _kronecker(weight: np.ndarray, root: np.ndarray, size: tuple[int, int], allowed: float) -> float:
    (rows, columns), (m, n) = weight.shape, size
    p, q = rows // m, columns // n
    terms = int(allowed / FLOAT / (m * n + p * q))
    rearranged = weight.reshape(m, p, n, q).transpose(0, 2, 1, 3).reshape(m * n, p * q)
    left, values, right = scipy.linalg.svd(rearranged, full_matrices=False)
    left, right = left[:, :terms] * values[:terms], right[:terms]
    found = (left @ right).reshape(m, n, p, q).transpose(0, 2, 1, 3).reshape(rows, columns)
    return float(np.sum(np.square(root @ (weight - found))))


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def sparse_times_dense(weights: Weights, roots: Weights, allowed: float) -> list[float]:
    """A dense dictionary times sparse columns (DSFormer, 2023): values of four bytes and places of two.

    Three sizes of the dictionary; orthogonal matching pursuit and least squares in turns, in the whitened norm.
    """
    return [
        min(_sparse(root @ weight, atoms, allowed / len(weights)) for atoms in (96, 128, 192))
        for weight, root in zip(weights, roots, strict=True)
    ]


def _sparse(aim: np.ndarray, atoms: int, allowed: float) -> float:
    rows, columns = aim.shape
    most = min(int((allowed - FLOAT * rows * atoms) / ((FLOAT + 2) * columns)), atoms)
    total = float(np.sum(np.square(aim)))
    if most < 1:
        return total
    dictionary = scipy.linalg.svd(aim, full_matrices=False)[0][:, :atoms]
    error = total
    for _ in range(4):
        codes = orthogonal_mp_gram(dictionary.T @ dictionary, dictionary.T @ aim, n_nonzero_coefs=most)
        error = min(error, float(np.sum(np.square(aim - dictionary @ codes))))
        dictionary = np.linalg.lstsq(codes.T, aim.T, rcond=None)[0].T
        dictionary /= np.maximum(np.linalg.norm(dictionary, axis=0), 1e-12)
    return error


def eight_bit_factors(weights: Weights, roots: Weights, allowed: float) -> list[float]:
    """Two factors whose numbers take a byte, as `--precision int8` has them; what rounding adds is left out."""
    return two_factors(weights, roots, allowed, entry=1)


def four_bits_and_factors(weights: Weights, roots: Weights, allowed: float) -> list[float]:
    """The weight in four bits, and two eight-bit factors of what that lost (LQER 2024, CALDERA 2024), in the whitened norm."""
    errors = []
    for weight, root in zip(weights, roots, strict=True):
        rows, columns = weight.shape
        blocks = weight.T.reshape(columns, -1, 32)
        steps = np.abs(blocks).max(axis=2, keepdims=True) / 7
        stored = rows * columns / 2 + FLOAT * steps.size
        rounded = (np.clip(np.round(blocks / steps), -8, 7) * steps).reshape(columns, rows).T
        rank = int((allowed / len(weights) - stored) / (rows + columns))
        lost = scipy.linalg.svdvals(root @ (weight - rounded))
        errors.append(float(np.sum(np.square(lost[max(rank, 0) :]))) if rank >= 0 else float("inf"))
    return errors


FORMS: Mapping[str, Grouped] = {
    "two factors": Grouped(two_factors),
    "a basis shared by two layers": Grouped(shared_basis, layers=2),
    "a basis shared by three layers": Grouped(shared_basis, layers=3),
    "a sum of Kronecker products": Grouped(kronecker_sum),
    "dense times sparse": Grouped(sparse_times_dense),
}
"""Label → form, compared at the same share of the bytes that the weights have as floats."""

ROUNDED: Mapping[str, Grouped] = {
    "eight-bit factors": Grouped(eight_bit_factors),
    "four bits and eight-bit factors of the rest": Grouped(four_bits_and_factors),
}
"""The same of forms that are rounded, at so many bytes a number of the weight."""
