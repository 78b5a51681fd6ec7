"""How far a decomposition is from its matrix: bounds found afterwards from random probes, and bounds known beforehand.

HMT stands for Halko, Martinsson, Tropp (2011), "Finding structure with randomness", doi 10.1137/090771806.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import DTypeLike

from squeeze_onnx.spectral.decompositions.blocks import Matrix, row_blocks, squared_frobenius_norm

KRYLOV_STEPS = 8
"""How often EEᵀ is applied to the probes. With 8 probes of 1000 entries this puts the bound 10 % above the estimate."""
FAILURE_PROBABILITY = 1e-6
"""How likely a bound from probes may be too small."""


@dataclass(frozen=True)
class NormBound:
    """A spectral norm from random probes."""

    estimate: float
    """Never more than the norm, up to rounding."""
    upper_bound: float
    """Less than the norm with probability ``failure_probability`` only."""
    failure_probability: float


def krylov_norm(apply: Callable[[np.ndarray], np.ndarray], start: np.ndarray, *, enough: float = np.inf) -> NormBound:
    """‖E‖₂ by Rayleigh–Ritz on the block Krylov space of EEᵀ; an estimate over ``enough`` ends it early, with no bound.

    apply: maps X (rows, n) to EEᵀX. start: standard Gaussian, (rows, probes); its dtype is that of all the work.

    The bound argues as Kuczyński and Woźniakowski (1992), doi 10.1137/0613066. Let the estimate be under √(1 − ε) ‖E‖₂
    after k applications to one probe ω of n entries. Take the Chebyshev polynomial of degree k − 1 on
    [0, (1 − ε)‖E‖₂²] for a trial vector: then the entry of ω along the leading eigenvector is small against its other
    entries. That ratio follows Student's distribution; with ε = tanh² t, it is so small with a probability of at most
    √(2n/π) / (sinh t · cosh 2(k − 1)t). Probes are independent, so their probabilities multiply, and at the t where the
    product is ``FAILURE_PROBABILITY``, the estimate times 1/√(1 − ε) = cosh t is the bound.
    """
    rows, probes = start.shape
    if rows <= probes * KRYLOV_STEPS:  # the Krylov space would be the whole space
        squared = np.linalg.eigvalsh(apply(np.eye(rows, dtype=start.dtype)))[-1]
        return NormBound(_root(squared), _root(squared), 0.0)
    basis, images = start[:, :0], start[:, :0]
    block, norm = start, 0.0
    for _ in range(KRYLOV_STEPS):
        if norm > enough:
            return NormBound(norm, np.inf, 0.0)
        # Householder's QR stays orthonormal where the space is exhausted and the block is in the span of the basis.
        block = np.linalg.qr(np.hstack([basis, block]))[0][:, -probes:]
        basis = np.hstack([basis, block])
        block = apply(block)
        images = np.hstack([images, block])
        norm = _root(np.linalg.eigvalsh(basis.T @ images)[-1])
    target = np.sqrt(2 * rows / np.pi) * FAILURE_PROBABILITY ** (-1 / probes)
    degree = 2 * (KRYLOV_STEPS - 1)
    t = scipy.optimize.brentq(lambda t: np.sinh(t) * np.cosh(degree * t) - target, 0.0, np.arcsinh(target))
    return NormBound(norm, norm * float(np.cosh(t)), FAILURE_PROBABILITY)


def _root(square: float) -> float:
    """√square of what is not negative but for rounding."""
    return float(np.sqrt(max(square, 0.0)))


def gaussian_norm(probes: np.ndarray, images: np.ndarray) -> NormBound:
    """‖E‖₂ from standard Gaussian ``probes`` ω (columns, s) and their ``images`` Eω (rows, s): HMT, Lemma 4.1 and eq. 4.3.

    ‖E‖₂ ≤ α √(2/π) max‖Eω‖ but for a probability of α⁻ˢ. It costs one product with E and is several times too large.
    """
    lengths = np.linalg.norm(images, axis=0)
    alpha = FAILURE_PROBABILITY ** (-1 / probes.shape[1])
    return NormBound(
        estimate=float((lengths / np.linalg.norm(probes, axis=0)).max()),
        upper_bound=float(alpha * np.sqrt(2 / np.pi) * lengths.max()),
        failure_probability=FAILURE_PROBABILITY,
    )


def frobenius_residual(
    matrix: Matrix, left: np.ndarray, values: np.ndarray, right: np.ndarray, dtype: DTypeLike = np.float64
) -> float:
    """‖W − UΣVᵀ‖_F for UΣVᵀ = UUᵀW or WVVᵀ, where that product ran in ``dtype``; exact up to rounding.

    By Pythagoras it is √(‖W‖_F² − ‖Σ‖_F²). Where that cancels more than half of the digits, W is read once more.
    """
    total = squared_frobenius_norm(matrix)
    difference = total - float(values @ values)
    if difference > np.sqrt(np.finfo(dtype).eps) * total:
        return float(np.sqrt(difference))
    scaled = left * values
    return float(np.sqrt(sum(np.sum((block - scaled[part] @ right) ** 2) for part, block in row_blocks(matrix))))


def expected_spectral_error(
    singular_values: np.ndarray, rank: int, oversampling: int, power_iterations: int = 1
) -> float:
    """What E‖W − QQᵀW‖₂ is at most, for the range Q of (WWᵀ)^(q−1) WΩ with rank + oversampling Gaussian columns.

    HMT, Theorem 10.6 for q = 1 (``power_iterations``) and Corollary 10.10 for more, from the known ``singular_values`` of
    W, descending; oversampling p ≥ 2. The excess over σ_{rank+1} fades as the (2q − 1)-th root, so with a slowly
    decaying spectrum only q helps. Truncating QQᵀW to ``rank`` adds at most σ_{rank+1} (Theorem 9.3).
    """
    if oversampling < 2:
        raise ValueError(f"The expected error is known for an oversampling of 2 or more. Got {oversampling}.")
    exponent = 2 * power_iterations - 1
    tail = singular_values[rank:]
    if tail.size == 0 or tail[0] == 0:
        return 0.0
    relative = (tail / tail[0]) ** exponent  # so that no power underflows
    excess = 1 + np.sqrt(rank / (oversampling - 1))
    spread = np.e * np.sqrt(rank + oversampling) / oversampling * np.linalg.norm(relative)
    return float(tail[0] * (excess + spread) ** (1 / exponent))
