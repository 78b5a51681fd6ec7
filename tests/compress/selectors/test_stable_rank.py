"""Stable rank as a selector."""

import numpy as np
import pytest
from hypothesis import given

from squeeze_onnx.compress.selectors import StableRank
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.strategies import plant, spectra


@pytest.mark.parametrize(
    ("values", "rank"),
    [([5.0, 0.0, 0.0], 1), ([5.0, 1.0, 1.0], 2), ([0.1, 0.1, 0.1], 3), ([0.0, 0.0, 0.0], 0)],
    ids=["one component", "one that stands out", "all equal", "zeros"],
)
def test_stable_rank_by_hand(values: list[float], rank: int) -> None:
    assert StableRank().select(Spectrum(np.array(values), (3, 7), weighting="identity")).rank == rank


@given(spectra())
def test_it_never_asks_for_more_than_the_rank(spectrum: Spectrum) -> None:
    assert StableRank().select(spectrum).rank <= np.count_nonzero(spectrum.singular_values)


def test_the_stable_rank_of_planted_signal_and_noise() -> None:
    """‖W‖_F² ≈ n (Σ x² + p), ‖W‖₂ ≈ √n · √((x² + 1)(x² + β))/x in units of σ; here p = 40, n = 400, β = 0.1."""
    planted = plant((40, 400), strengths=(9.0, 6.0), noise_sigma=0.01, seed=0)
    expected = (9**2 + 6**2 + 40) / ((9**2 + 1) * (9**2 + 0.1) / 9**2)
    assert StableRank().select(planted.spectrum).rank == np.ceil(expected)


def test_the_choice_says_what_it_did() -> None:
    choice = StableRank().select(Spectrum(np.array([2.0, 1.0, 1.0]), (3, 3), weighting="identity"))
    assert (choice.rank, choice.threshold, choice.selector) == (2, 1.0, "stable-rank")
    assert choice.reason == "the stable rank is 1.5, rounded up to 2"
