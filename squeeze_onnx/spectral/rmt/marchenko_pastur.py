"""The Marchenko–Pastur law: where the singular values of a large matrix of pure noise lie.

For a p × n matrix Z, p ≤ n, of independent entries with mean 0 and standard deviation σ, the eigenvalues λ of ZZᵀ/n
follow, as the matrix grows at a fixed aspect ratio β = p/n, the density

    f(λ) = √((λ₊ − λ)(λ − λ₋)) / (2πσ²βλ),    λ± = σ²(1 ± √β)²

(Marchenko & Pastur 1967, Math. USSR-Sbornik 1, 457). Throughout this package n is the *larger* dimension, so a singular
value of Z itself is s = √(nλ).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from squeeze_onnx.support.errors import OptionError

_BISECTIONS = 60  # [0, π] halved 60 times is below the spacing of doubles around 1


@dataclass(frozen=True)
class MarchenkoPastur:
    """The law of the eigenvalues λ of ZZᵀ/n for noise of standard deviation ``noise_level``.

    ``aspect_ratio`` is β in (0, 1]. Methods take and give eigenvalues; `singular_value_edges` is in singular values.
    Raises `OptionError` for an aspect ratio or noise level out of range.
    """

    aspect_ratio: float
    noise_level: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.aspect_ratio <= 1:
            raise OptionError(f"the aspect ratio must be a float in the range (0, 1]. Got {self.aspect_ratio!r}")
        if not 0 < self.noise_level < np.inf:
            raise OptionError(f"the noise level must be a positive finite float. Got {self.noise_level!r}")

    @property
    def lower_edge(self) -> float:
        """λ₋ = σ²(1 − √β)²."""
        return float((self.noise_level * (1 - np.sqrt(self.aspect_ratio))) ** 2)

    @property
    def upper_edge(self) -> float:
        """λ₊ = σ²(1 + √β)²."""
        return float((self.noise_level * (1 + np.sqrt(self.aspect_ratio))) ** 2)

    @property
    def median(self) -> float:
        """The eigenvalue with half of the law below it: μ_β of Gavish & Donoho (2014), times σ²."""
        return self.noise_level**2 * _unit_median(self.aspect_ratio)

    def singular_value_edges(self, larger_dimension: int) -> tuple[float, float]:
        """σ(√n − √p) and σ(√n + √p): the edges for the singular values of a matrix whose larger dimension is n."""
        return float(np.sqrt(larger_dimension * self.lower_edge)), float(np.sqrt(larger_dimension * self.upper_edge))

    def density(self, eigenvalues: ArrayLike) -> np.ndarray:
        """f(λ), shape of ``eigenvalues``; zero outside the open interval between the edges."""
        x = np.asarray(eigenvalues, dtype=np.float64)
        root = np.sqrt(np.maximum((self.upper_edge - x) * (x - self.lower_edge), 0))
        scale = 2 * np.pi * self.noise_level**2 * self.aspect_ratio
        return np.divide(root, scale * x, out=np.zeros_like(root), where=root > 0)

    def cdf(self, eigenvalues: ArrayLike) -> np.ndarray:
        """The part of the law at or below each eigenvalue, in closed form; shape of ``eigenvalues``."""
        x = np.asarray(eigenvalues, dtype=np.float64) / self.noise_level**2
        root_beta = np.sqrt(self.aspect_ratio)
        # sin²(θ/2) = (λ − λ₋)/(λ₊ − λ₋) keeps its digits next to the lower edge, where cos θ would lose half of them.
        half_sine = np.sqrt(np.clip((x - (1 - root_beta) ** 2) / (4 * root_beta), 0, 1))
        return self._cdf_of_angle(2 * np.arcsin(half_sine))

    def quantile(self, probabilities: ArrayLike) -> np.ndarray:
        """The eigenvalues below which the parts ``probabilities`` (each in [0, 1]) of the law lie; same shape."""
        q = np.asarray(probabilities, dtype=np.float64)
        if not np.all((q >= 0) & (q <= 1)):
            raise OptionError("a probability must be a float in the range [0, 1]")
        low, high = np.zeros_like(q), np.full_like(q, np.pi)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self._cdf_of_angle(middle) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray(self.noise_level**2 * np.abs(1 - np.sqrt(self.aspect_ratio) * np.exp(1j * high)) ** 2)

    def _cdf_of_angle(self, theta: np.ndarray) -> np.ndarray:
        """The CDF at λ = σ²|1 − √β·exp(iθ)|², θ in [0, π] from lower to upper edge.

        In θ the density is 2 sin²θ / (π|1 − √β exp(iθ)|²), whose integral is elementary:
        (√β sin θ + βθ − (1 − β)δ) / (πβ) with δ = −arg(1 − √β exp(iθ)). No term is singular at β = 1.
        """
        beta, root_beta = self.aspect_ratio, np.sqrt(self.aspect_ratio)
        delta = np.arctan2(root_beta * np.sin(theta), 1 - root_beta * np.cos(theta))
        part = (root_beta * np.sin(theta) + beta * theta - (1 - beta) * delta) / (np.pi * beta)
        return np.asarray(np.clip(part, 0, 1))


@lru_cache(maxsize=256)
def _unit_median(aspect_ratio: float) -> float:
    return float(MarchenkoPastur(aspect_ratio).quantile(0.5))
