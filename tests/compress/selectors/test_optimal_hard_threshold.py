"""Optimal hard threshold: the published constants and the cut they give."""

import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import minimize_scalar

from squeeze_onnx.compress.selectors import OptimalHardThreshold
from squeeze_onnx.compress.selectors.optimal_hard_threshold import hard_threshold_coefficient
from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.noise import KnownNoise, MedianSingularValue, NoiseEstimator
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.strategies import aspect_ratios, plant


def test_the_square_coefficient_is_four_over_root_three() -> None:
    assert hard_threshold_coefficient(1.0) == pytest.approx(4 / np.sqrt(3))


@given(aspect_ratios)
def test_at_the_threshold_keeping_and_cutting_cost_the_same(beta: float) -> None:
    """Keeping y costs x² + y² − 2xy·c·c̃, cutting it x²: equal at the threshold, where y = 2x·c·c̃ (their section IV)."""

    def balance(x: float) -> float:
        y = np.sqrt((x + 1 / x) * (x + beta / x))
        product_of_cosines = (x**4 - beta) / (x**2 * np.sqrt((x**2 + beta) * (x**2 + 1)))
        return float(abs(y - 2 * x * product_of_cosines))

    x = minimize_scalar(balance, bounds=(beta**0.25, 4), method="bounded", options={"xatol": 1e-10}).x
    assert hard_threshold_coefficient(beta) == pytest.approx(np.sqrt((x + 1 / x) * (x + beta / x)), rel=1e-6)


@given(aspect_ratios.filter(lambda beta: beta > 0.01))
def test_over_the_median_it_is_the_published_cubic(beta: float) -> None:
    """ω(β) ≈ 0.56β³ − 0.95β² + 1.82β + 1.43 to 0.02 (Gavish & Donoho 2014, eq. 5)."""
    omega = hard_threshold_coefficient(beta) / np.sqrt(MarchenkoPastur(beta).median)
    assert omega == pytest.approx(0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43, abs=0.02)


def test_by_default_a_square_matrix_is_cut_at_2_858_times_its_median() -> None:
    spectrum = Spectrum(np.array([9.0, 3.0, 2.0, 1.0, 0.5]), (5, 5), weighting="identity")
    choice = OptimalHardThreshold().select(spectrum)
    assert choice.threshold == pytest.approx(2.858 * 2.0, abs=1e-3)
    assert choice.rank == 1


@pytest.mark.parametrize("noise", [MedianSingularValue(), KnownNoise(0.01)], ids=["unknown", "known"])
def test_planted_signal_is_found(noise: NoiseEstimator) -> None:
    planted = plant((120, 90), strengths=(9.0, 6.0, 4.0), noise_sigma=0.01, seed=0)
    assert OptimalHardThreshold(noise).select(planted.spectrum).rank == 3


def test_planted_signal_between_edge_and_threshold_is_cut() -> None:
    """β = 1: the edge is 2, the threshold 4/√3 ≈ 2.31; a signal x shows at y = x + 1/x."""
    planted = plant((300, 300), strengths=(3.0, 1.4), noise_sigma=0.1, seed=2)
    above_edge = int(np.sum(planted.spectrum.singular_values > 2.05 * 0.1 * np.sqrt(300)))
    assert (above_edge, OptimalHardThreshold(KnownNoise(0.1)).select(planted.spectrum).rank) == (2, 1)


def test_a_matrix_of_zeros_has_rank_0() -> None:
    assert OptimalHardThreshold().select(Spectrum(np.zeros(4), (4, 6), weighting="identity")).rank == 0


def test_the_choice_says_what_it_did() -> None:
    spectrum = Spectrum(np.array([9.0, 3.0, 2.0, 1.0]), (4, 4), weighting="identity")
    choice = OptimalHardThreshold(KnownNoise(0.5)).select(spectrum)
    assert choice.selector == "hard-threshold"
    assert choice.reason == "2 of 4 singular values are above 2.309, 2.309·√4·σ with σ = 0.5"
