"""Factors that quantize well: W = L R = (L T)(T⁻¹ R) for any invertible T, and rounding does not see them alike.

With one scale a column, rounding L does not see a diagonal T, but R does: its columns run over the rank. And the product h = x L
between the two is rounded with one step for all of its channels, so those should be about as wide as each other. Scaling the
channels as SmoothQuant does (Xiao et al. 2023, arXiv 2211.10438) trades one against the other; a rotation (QuaRot, Ashkboos et
al. 2024, arXiv 2404.00456) spreads outliers of both over all channels. What is best is not guessed: every candidate is
rounded and refitted, and that of least error counts, the factors as they came among them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lstsq

from squeeze_onnx.compress.precision.rounding import ColumnRounding
from squeeze_onnx.spectral.decompositions import Factors
from squeeze_onnx.spectral.moments import Moments

EXPONENTS = (0.0, 0.5, 1.0)
"""How much of the channels' width goes from h into R: 0 gives the rows of R equal maxima, 1 the channels of h equal widths."""

ACTIVATION_STEPS = 255
RANGE = 8.0
"""The range of a tensor, in standard deviations of its widest channel: ±4."""

_SEED = 0

RoundWeight = Callable[[np.ndarray], np.ndarray]
"""What becomes of a weight as it is stored."""


@dataclass(frozen=True)
class PairRounding:
    """What becomes of the two factors of a pair."""

    left: RoundWeight = ColumnRounding().round
    right: RoundWeight = ColumnRounding().round


def quantizable(factors: Factors, moments: Moments, rounding: PairRounding = PairRounding()) -> Factors:
    """Return the factors (in, r), (r, out) whose rounding keeps x L R best; neither is rounded yet.

    ``moments`` are those of x. The right factor is fitted by `refit_right` to the left one as ``rounding`` leaves it, so the
    two belong together: whoever stores one stores the other.
    """
    candidates = [
        Factors(each.left, refit_right(rounding.left(each.left), factors, moments))
        for each in _candidates(factors, moments)
    ]
    return min(candidates, key=lambda each: rounding_error(each, factors, moments, rounding))


def refit_right(left: np.ndarray, target: Factors, moments: Moments) -> np.ndarray:
    """Return the R̂ (r, out) of least ‖X(L̂ R̂ − L R)‖ behind the given L̂ = ``left`` (in, r): ordinary least squares.

    What is fitted is linear in X L, so that R̂ = T R with the T (r, r) of least ‖X(L̂ T − L)‖.
    """
    seen = moments.weigh(left)
    widths = np.linalg.norm(seen, axis=0)
    widths[widths == 0] = 1
    solution, *_ = lstsq(seen / widths, moments.weigh(target.left), lapack_driver="gelsy", check_finite=False)
    refitted: np.ndarray = (solution / widths[:, None]) @ target.right
    return refitted


def rounding_error(
    factors: Factors,
    target: Factors,
    moments: Moments,
    rounding: PairRounding = PairRounding(),
) -> float:
    """Return the mean squared error of x L̂ R̂ against the target's, both factors and the product between them rounded."""
    left, right = rounding.left(factors.left), rounding.right(factors.right)
    products = moments.weigh(left)
    missed = products @ right - moments.weigh(target.left) @ target.right
    step = RANGE * float(np.linalg.norm(products, axis=0).max()) / ACTIVATION_STEPS
    return float(np.square(missed).sum() + step**2 / 12 * np.square(right).sum())


def _candidates(factors: Factors, moments: Moments) -> Iterator[Factors]:
    yield factors
    widths = np.linalg.norm(moments.weigh(factors.left), axis=0)
    largest = np.abs(factors.right).max(axis=1)
    if widths.all() and largest.all():
        for exponent in EXPONENTS:
            scale = largest ** (1 - exponent) / widths**exponent
            yield Factors(factors.left * scale, factors.right / scale[:, None])
    rank = len(widths)
    rotation, _ = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((rank, rank)))
    yield Factors(factors.left @ rotation, rotation.T @ factors.right)
