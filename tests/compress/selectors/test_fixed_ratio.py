"""Fixed ratio."""

import numpy as np
import pytest

from squeeze_onnx.compress.selectors import FixedRatio
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.strategies import plant


@pytest.mark.parametrize(("ratio", "rank"), [(0.0, 0), (0.01, 1), (0.25, 1), (0.26, 2), (0.5, 2), (1.0, 4)])
def test_is_rounded_up(ratio: float, rank: int) -> None:
    spectrum = Spectrum(np.array([3.0, 2.0, 1.0, 0.5]), (4, 7), weighting="identity")
    assert FixedRatio(ratio).select(spectrum).rank == rank


def test_rounding_adds_no_component() -> None:
    assert 0.07 * 100 > 7
    assert FixedRatio(0.07).select(Spectrum(np.ones(100), (100, 200), weighting="identity")).rank == 7


@pytest.mark.parametrize("shape", [(40, 120), (120, 40)])
def test_the_cut_of_a_planted_spectrum_lies_between_signal_and_noise(shape: tuple[int, int]) -> None:
    planted = plant(shape, strengths=(9.0, 6.0, 4.0), noise_sigma=0.01, seed=0)
    choice = FixedRatio(3 / 40).select(planted.spectrum)
    noise_edge = 0.01 * (np.sqrt(120) + np.sqrt(40))
    assert choice.rank == 3
    assert choice.threshold < 1.1 * noise_edge < planted.spectrum.singular_values[2]


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(OptionError, match=r"the fixed ratio must be a float in the range \[0, 1\]"):
        FixedRatio(ratio)


def test_the_choice_says_what_it_did() -> None:
    choice = FixedRatio(0.5).select(Spectrum(np.array([3.0, 2.0, 1.0]), (3, 7), weighting="identity"))
    assert (choice.rank, choice.threshold, choice.selector) == (2, 1.0, "fixed_ratio")
    assert choice.reason == "2 of 3 components, 50 % asked"
