"""The weight that does best on other inputs than it was made for: ridge regression towards what it used to return.

Behind squeezed weights a site no longer reads X (tokens, in) but X̂. The weight Ŵ and bias b̂ sought minimise

    ‖X̂ Ŵ + b̂ − (X W + b + D)‖² + λ·tokens·‖Ŵ − W₀‖²

where W₀ is W, or what stands in for it if X̂ has fewer features than X, and D (tokens, out) is how far the residual stream
that the result joins has drifted: dense minus squeezed. To hit X W + b + D is to undo the drift, not only to add nothing to
it. Everything is a function of second moments, so rows are streamed. The closed form is the normal equation (Hoerl & Kennard
1970, shifted to W₀); truncating its solution in the metric of the same normal matrix is reduced-rank regression (Izenman 1975).
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from squeeze_onnx.spectral.moments import SecondMoment

RIDGE = 0.3
"""λ over the mean of the diagonal of the second moment of X̂; chosen on held-out train text by tools/choose_ridge.py."""

_LEAST_RIDGE = 1e-8
"""λ over the largest entry of the diagonal: it keeps the factorization real, no more."""


@dataclass(frozen=True)
class InputMoments:
    """Means over tokens of what a site reads in the squeezed model, in float64: gram X̂ᵀX̂ (in, in), mean (in,)."""

    gram: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class CrossMoments:
    """Means over tokens, in float64: cross X̂ᵀY (in, features of Y), mean (features of Y,). Y may be X, D, or X W + D."""

    cross: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True, eq=False)
class NormalMatrix:
    """X̂ᵀX̂ over tokens, with the ridge on its diagonal, factored for all weights that read the same X̂.

    ``metric`` is the matrix itself, in which a truncation of what it solves loses least, and ``ridge`` what was added. Where it
    is ``centred`` moments are about the means, which a bias takes up.
    """

    inputs: InputMoments
    centred: bool
    metric: SecondMoment
    ridge: float
    _root: tuple[np.ndarray, bool]

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return the X (in, out) that the matrix takes to ``right``."""
        solution: np.ndarray = scipy.linalg.cho_solve(self._root, right, check_finite=False)
        return solution


def normal_matrix(inputs: InputMoments, *, centred: bool, ridge: float = RIDGE) -> NormalMatrix:
    """Factor the normal matrix of ``inputs``; ``centred`` where every weight to be solved for has a bias."""
    gram = inputs.gram.copy()
    if centred:
        gram -= np.outer(inputs.mean, inputs.mean)
    # Where inputs hardly vary, what is left about their means is the rounding of products, so large at most (`tall_products`).
    rounding = float(np.finfo(np.float32).eps * np.trace(inputs.gram))
    least = _LEAST_RIDGE * float(np.diagonal(inputs.gram).max())
    strength = max(ridge * float(np.diagonal(gram).mean()), rounding, least, np.finfo(np.float64).tiny)
    gram[np.diag_indices_from(gram)] += strength
    root = scipy.linalg.cho_factor(gram, check_finite=False)
    return NormalMatrix(inputs, centred, SecondMoment(gram, 1), strength, root)


@dataclass(frozen=True)
class Regression:
    """The regressed weight (in, out) at full rank."""

    weight: np.ndarray
    _target_mean: np.ndarray
    _input_mean: np.ndarray

    def bias_shift(self, truncated: np.ndarray) -> np.ndarray:
        """Return what to add to the bias, (out,), if ``truncated`` (in, out) takes the place of the weight."""
        shift: np.ndarray = self._target_mean - self._input_mean @ truncated
        return shift


def target_of(dense: CrossMoments, weight: np.ndarray, drift: CrossMoments | None) -> CrossMoments:
    """Return the moments of X W + D, given those of X, the ``weight`` W (dense in, out), and those of D."""
    cross, mean = dense.cross @ weight, dense.mean @ weight
    return CrossMoments(cross, mean) if drift is None else CrossMoments(cross + drift.cross, mean + drift.mean)


def regress(weight: np.ndarray, target: CrossMoments, normal: NormalMatrix) -> Regression:
    """Regress ``weight`` W₀ (in, out) on the squeezed inputs, to come near ``target``, X W + D. All float64.

    Without a bias to correct `Regression.bias_shift` means nothing.
    """
    inputs, right = normal.inputs, target.cross
    if normal.centred:
        right = right - np.outer(inputs.mean, target.mean)
    return Regression(normal.solve(right + normal.ridge * weight), target.mean, inputs.mean)
