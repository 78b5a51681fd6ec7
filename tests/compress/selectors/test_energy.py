"""Energy: the fewest components that hold the fraction asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.compress.selectors import Energy
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.strategies import plant, spectra

BY_HAND = Spectrum(np.array([3.0, 2.0, 1.0, 0.0]), (4, 5), weighting="identity")  # energies 9, 4, 1, 0 of 14


@pytest.mark.parametrize(("fraction", "rank"), [(0.0, 0), (0.6, 1), (0.65, 2), (0.92, 2), (0.93, 3), (1.0, 3)])
def test_energy_by_hand(fraction: float, rank: int) -> None:
    assert Energy(fraction).select(BY_HAND).rank == rank


@given(spectra(), st.floats(0, 1))
def test_the_rank_holds_the_fraction_and_no_smaller_one_does(spectrum: Spectrum, fraction: float) -> None:
    rank = Energy(fraction).select(spectrum).rank
    assert spectrum.energy_kept(rank) >= fraction
    assert rank == 0 or spectrum.energy_kept(rank - 1) < fraction


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_energy_of_planted_signal_takes_as_many_components(count: int) -> None:
    strengths = (9.0, 6.0, 4.0)
    planted = plant((60, 400), strengths, noise_sigma=0.01, seed=0)
    # Each of the 60 rows of noise adds its norm, n in units of σ², to the n · Σ strengths² of the signal.
    share = sum(strength**2 for strength in strengths[:count]) / (sum(strength**2 for strength in strengths) + 60)
    assert Energy(share).select(planted.spectrum).rank == count


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(OptionError, match=r"the energy fraction must be a float in the range \[0, 1\]"):
        Energy(fraction)


def test_a_matrix_of_zeros_has_rank_0() -> None:
    assert Energy(1.0).select(Spectrum(np.zeros(4), (4, 6), weighting="identity")).rank == 0


def test_the_choice_says_what_it_did() -> None:
    choice = Energy(0.9).select(BY_HAND)
    assert (choice.threshold, choice.selector) == (1.0, "energy")
    assert choice.reason == "2 of 4 components hold 92.86 % of the energy, 90 % asked"
