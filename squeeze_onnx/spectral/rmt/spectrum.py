"""Singular values of a weight, and the numbers that describe them."""

from dataclasses import dataclass

import numpy as np
from scipy.special import entr

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.support.errors import InputError


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values of a matrix, largest first.

    ``singular_values``: float64, length min(shape), descending, finite, not negative; ``shape``: (in, out) of the
    matrix; ``weighting``: the name of what was done to the weight before the decomposition. Raises `InputError` for
    anything else.
    """

    singular_values: np.ndarray
    shape: tuple[int, int]
    weighting: str = "identity"

    def __post_init__(self) -> None:
        values = self.singular_values
        if values.shape != (min(self.shape),) or not values.size:
            raise InputError(
                f"a {self.shape[0]} × {self.shape[1]} matrix has {min(self.shape)} singular values. Got {values.shape}"
            )
        if not np.all(np.isfinite(values)) or values[-1] < 0 or np.any(np.diff(values) > 0):
            raise InputError("singular values must be finite, not negative, and in descending order")

    @property
    def smaller_dimension(self) -> int:
        """The smaller side of the matrix, p in the formulas."""
        return min(self.shape)

    @property
    def larger_dimension(self) -> int:
        """The larger side of the matrix, n in the formulas."""
        return max(self.shape)

    @property
    def aspect_ratio(self) -> float:
        """β = p/n, in (0, 1]."""
        return self.smaller_dimension / self.larger_dimension

    @property
    def eigenvalues(self) -> np.ndarray:
        """λ = s²/n, in the normalisation of `MarchenkoPastur`; descending."""
        return np.asarray(self.singular_values**2 / self.larger_dimension)

    def rank_above(self, threshold: float) -> int:
        """How many singular values are larger than ``threshold``."""
        return int(np.count_nonzero(self.singular_values > threshold))

    def threshold_for(self, rank: int) -> float:
        """Midway between the singular value of this ``rank`` (1 … p) and the next; below the smallest there is zero."""
        last, following = np.append(self.singular_values, 0.0)[rank - 1 : rank + 1]
        return float((last + following) / 2)

    @property
    def cumulative_energy(self) -> np.ndarray:
        """The part of ‖W‖_F² in the 0, 1, …, p largest components, from 0 to 1; all 1 for a matrix of zeros."""
        energies = np.concatenate(([0.0], np.cumsum(_relative_to_largest(self.singular_values) ** 2)))
        return energies / energies[-1] if energies[-1] > 0 else np.ones_like(energies)

    def energy_kept(self, rank: int) -> float:
        """The part of ‖W‖_F² in the ``rank`` largest components; 1 for a matrix of zeros, which has nothing to lose."""
        return float(self.cumulative_energy[rank])

    def ks_distance(self, noise_sigma: float) -> float:
        """The largest gap between the empirical CDF of the eigenvalues and Marchenko–Pastur's at ``noise_sigma``.

        At ``noise_sigma`` 0 the law is a point mass at zero, and the gap is the part of the singular values above zero.
        """
        if noise_sigma == 0:
            return float(np.count_nonzero(self.singular_values)) / self.smaller_dimension
        law = MarchenkoPastur(self.aspect_ratio, noise_sigma)
        return max(ks_deviations(law.cdf(self.eigenvalues)))


def ks_deviations(cdf_values: np.ndarray) -> tuple[float, float]:
    """Kolmogorov's D⁺ and D⁻: how far the empirical CDF rises above a law, and how far it falls below it.

    ``cdf_values`` is the law's CDF at the sample, the sample in *descending* order.
    """
    count = len(cdf_values)
    steps = np.arange(count, -1, -1) / count
    return float(np.max(steps[:-1] - cdf_values)), float(np.max(cdf_values - steps[1:]))


def effective_rank(singular_values: np.ndarray) -> float:
    """exp of the entropy of s/Σs (Roy & Vetterli 2007, "The effective rank", EUSIPCO); 0 if all are zeros."""
    relative = _relative_to_largest(singular_values)
    return float(np.exp(entr(relative / relative.sum()).sum())) if relative.any() else 0.0


def stable_rank(singular_values: np.ndarray) -> float:
    """‖W‖_F²/‖W‖₂², at most the rank; 0 if all are zeros."""
    return float(np.sum(_relative_to_largest(singular_values) ** 2))


def _relative_to_largest(singular_values: np.ndarray) -> np.ndarray:
    """s/s₁, so that squares neither overflow nor vanish; zeros stay zeros."""
    largest = np.max(singular_values, initial=0.0)
    return singular_values / largest if largest > 0 else np.zeros_like(singular_values)
