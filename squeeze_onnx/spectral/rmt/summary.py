"""What random-matrix theory says about one spectrum, in one value for tables and reports."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS, NoiseEstimator
from squeeze_onnx.spectral.rmt.null_model import ks_p_value
from squeeze_onnx.spectral.rmt.spectrum import Spectrum, effective_rank, stable_rank
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge


@dataclass(frozen=True)
class NoiseCut:
    """Where one noise estimator puts the cut: its σ, the Tracy–Widom edge (a singular value), the rank above it."""

    noise_sigma: float
    tw_edge: float
    signal_rank: int


@dataclass(frozen=True)
class SpectrumSummary:
    """One spectrum against the null hypothesis that the matrix is pure noise.

    ``noise_sigma`` is the standard deviation of one entry; ``mp_edge`` (the limit for large matrices) and ``tw_edge``
    (at the asked probability) are singular values; ``signal_rank`` counts the singular values above ``tw_edge``.
    ``ks_distance`` is between all eigenvalues and the Marchenko–Pastur law at ``noise_sigma``, its p-value simulated.
    ``by_estimator`` holds the cut under every estimator of `NOISE_ESTIMATORS`, by name.
    """

    aspect_ratio: float
    noise_sigma: float
    mp_edge: float
    tw_edge: float
    signal_rank: int
    effective_rank: float
    stable_rank: float
    ks_distance: float
    ks_p_value: float
    by_estimator: Mapping[str, NoiseCut]


def summarize(
    spectrum: Spectrum, noise: NoiseEstimator, simulated: np.ndarray, *, probability: float = 0.95
) -> SpectrumSummary:
    """Summarize ``spectrum``, with σ by ``noise`` and the Tracy–Widom edge at ``probability``.

    ``simulated`` are the KS distances of noise of this shape, as for `ks_p_value`. A matrix of zeros has σ, edges and ranks 0,
    and p-value 1. Raises `OptionError` for a probability out of range.
    """
    cut = find_cut(spectrum, noise, probability)
    unit_edge = MarchenkoPastur(spectrum.aspect_ratio).singular_value_edges(spectrum.larger_dimension)[1]
    return SpectrumSummary(
        aspect_ratio=spectrum.aspect_ratio,
        noise_sigma=cut.noise_sigma,
        mp_edge=cut.noise_sigma * unit_edge,
        tw_edge=cut.tw_edge,
        signal_rank=cut.signal_rank,
        effective_rank=effective_rank(spectrum.singular_values),
        stable_rank=stable_rank(spectrum.singular_values),
        ks_distance=spectrum.ks_distance(cut.noise_sigma),
        ks_p_value=ks_p_value(spectrum, noise, simulated),
        by_estimator={name: find_cut(spectrum, kind(), probability) for name, kind in NOISE_ESTIMATORS.items()},
    )


def find_cut(spectrum: Spectrum, noise: NoiseEstimator, probability: float) -> NoiseCut:
    """Cut ``spectrum`` at the Tracy–Widom edge of ``probability``, with σ by ``noise``."""
    sigma = noise.estimate(spectrum)
    edge = noise_edge(spectrum.shape, sigma, probability)
    return NoiseCut(sigma, edge, spectrum.rank_above(edge))
