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

from squeeze_onnx.spectral.moments import SecondMoment, damping

RIDGE = 0.3
"""λ over the mean of the diagonal of the second moment of X̂; chosen on held-out train text by tools/choose_ridge.py."""


@dataclass(frozen=True)
class InputMoments:
    """Means over tokens of X̂ and X, in float64: what a site reads in the squeezed and in the dense model.

    gram: X̂ᵀX̂ (in, in). cross: X̂ᵀX (in, dense in). squeezed_mean: (in,). dense_mean: (dense in,).
    """

    gram: np.ndarray
    cross: np.ndarray
    squeezed_mean: np.ndarray
    dense_mean: np.ndarray


@dataclass(frozen=True)
class DriftMoments:
    """Means over tokens of the drift D of the residual stream: cross X̂ᵀD (in, out), mean (out,)."""

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
        gram -= np.outer(inputs.squeezed_mean, inputs.squeezed_mean)
    strength = max(ridge * float(np.diagonal(gram).mean()), damping(inputs.gram))
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


def regress(
    weight: np.ndarray, target_weight: np.ndarray, normal: NormalMatrix, drift: DriftMoments | None
) -> Regression:
    """Regress ``weight`` W₀ (in, out) on the squeezed inputs; ``target_weight`` W reads the dense ones. All float64.

    Without a bias to correct `Regression.bias_shift` means nothing.
    """
    inputs = normal.inputs
    target = inputs.cross @ target_weight
    target_mean = inputs.dense_mean @ target_weight
    if drift is not None:
        target += drift.cross
        target_mean = target_mean + drift.mean
    if normal.centred:
        target -= np.outer(inputs.squeezed_mean, target_mean)
    return Regression(normal.solve(target + normal.ridge * weight), target_mean, inputs.squeezed_mean)
