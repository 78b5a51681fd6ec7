"""Linear maps of embeddings to fewer dimensions that keep what is like what.

Rows are embeddings in float64, (texts, features). The principal map keeps most of their second moment (Eckart & Young 1936): its
dimensions are sorted, so the first n of N are the best n (as Matryoshka embeddings are nested, Kusupati et al. 2022, arXiv
2205.13147). `learned_map` goes on from there by the cosines of pairs (relational distillation, Park et al. 2019, 1904.05068).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

NEAR = 200.0
"""What a pair of cosine 1 counts beside one of cosine 0; in between it grows with the square. Searches ask about near pairs."""

MOST_TEXTS, STEPS = 2048, 60
"""Learning reads all pairs of so many texts, in so many steps of L-BFGS."""

_SHORTEST = 1e-12


def unit(rows: np.ndarray) -> np.ndarray:
    """Return ``rows`` at length 1; one of no length stays."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _SHORTEST))


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """x ↦ (x − ``mean``) ``axes``, where ``mean`` has shape (features,) and ``axes`` (features, dimensions).

    If it is ``normalized``, x has length 1 before and after.
    """

    mean: np.ndarray
    axes: np.ndarray
    normalized: bool = True

    @property
    def dimensions(self) -> int:
        """How many numbers it returns."""
        return int(self.axes.shape[1])

    @property
    def bias(self) -> np.ndarray:
        """What is added after the product, (dimensions,)."""
        return np.asarray(-self.mean @ self.axes)

    @property
    def rotates(self) -> bool:
        """Whether there is a product at all."""
        return not np.array_equal(self.axes, np.eye(len(self.axes)))

    @property
    def changes(self) -> bool:
        """Whether it does anything but normalize."""
        return self.rotates or bool(self.bias.any())

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Map (texts, features) to (texts, dimensions)."""
        mapped = (unit(rows) if self.normalized else rows) @ self.axes + self.bias
        return unit(mapped) if self.normalized else np.asarray(mapped)

    def then(self, rotation: np.ndarray) -> "EmbeddingMap":
        """Return this with its dimensions rotated by an orthogonal matrix."""
        return replace(self, axes=self.axes @ rotation)


def identity_map(rows: np.ndarray, *, centred: bool, normalized: bool) -> EmbeddingMap:
    """Return what leaves ``rows`` as they are, but for their mean."""
    return EmbeddingMap(_mean(rows, centred=centred, normalized=normalized), np.eye(rows.shape[1]), normalized)


def principal_map(rows: np.ndarray, dimensions: int, *, centred: bool, normalized: bool) -> EmbeddingMap:
    """Return the rotation by the eigenvectors of the second moment of ``rows``, cut to ``dimensions``; largest first."""
    mean = _mean(rows, centred=centred, normalized=normalized)
    met = (unit(rows) if normalized else rows) - mean
    return EmbeddingMap(mean, principal_axes(met)[:, :dimensions], normalized)


def principal_axes(rows: np.ndarray) -> np.ndarray:
    """Return the eigenvectors of rowsᵀ rows as columns, by falling eigenvalue; the largest entry of each is positive."""
    axes = np.linalg.eigh(rows.T @ rows)[1][:, ::-1]
    largest = axes[np.argmax(np.abs(axes), axis=0), np.arange(axes.shape[1])]
    return np.asarray(axes * np.where(largest < 0, -1.0, 1.0))


def learned_map(start: EmbeddingMap, rows: np.ndarray, *, steps: int = STEPS) -> EmbeddingMap:
    """Return ``start`` with axes under which cosines of pairs of ``rows`` are nearest to theirs, near pairs above all.

    The loss is Σ w (cos(z_i, z_j) − cos(x_i, x_j))² / Σ w, w = 1 + `NEAR` max(cos(x_i, x_j), 0)², over the pairs of at most
    `MOST_TEXTS` texts. No rotation after the map changes it, so that by the second moment makes dimensions nested again.
    """
    met = unit(rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_TEXTS)).round().astype(np.int64)])
    shifted, cosines = met - start.mean, met @ met.T
    weights = 1 + NEAR * np.square(np.maximum(cosines, 0))
    np.fill_diagonal(weights, 0)
    weights /= max(float(weights.sum()), _SHORTEST)

    def loss(entries: np.ndarray) -> tuple[float, np.ndarray]:
        mapped = shifted @ entries.reshape(start.axes.shape)
        lengths = np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), _SHORTEST)
        directions = mapped / lengths
        off = directions @ directions.T - cosines
        pulled = 4 * (weights * off) @ directions
        pulled -= directions * np.sum(pulled * directions, axis=1, keepdims=True)
        return float(np.sum(weights * np.square(off))), (shifted.T @ (pulled / lengths)).ravel()

    found = minimize(loss, start.axes.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    learned = replace(start, axes=found.x.reshape(start.axes.shape))
    return learned.then(principal_axes(learned.apply(rows)))


def random_rotation(dimensions: int, seed: int) -> np.ndarray:
    """Return an orthogonal matrix by chance: it evens out what the dimensions hold, as signs of them want."""
    factor, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimensions, dimensions)))
    return np.asarray(factor * np.sign(np.diag(triangle)))


def sign_rotation(rows: np.ndarray, seed: int, steps: int = 30) -> np.ndarray:
    """Return the rotation whose signs are nearest to the rotated ``rows`` (ITQ: Gong & Lazebnik 2011), from one by chance."""
    rotation = random_rotation(rows.shape[1], seed)
    for _ in range(steps):
        left, _, right = np.linalg.svd(rows.T @ np.where(rows @ rotation > 0, 1.0, -1.0))
        rotation = left @ right
    return np.asarray(rotation)


def _mean(rows: np.ndarray, *, centred: bool, normalized: bool) -> np.ndarray:
    if not centred:
        return np.zeros(rows.shape[1])
    return np.asarray((unit(rows) if normalized else rows).mean(axis=0))
