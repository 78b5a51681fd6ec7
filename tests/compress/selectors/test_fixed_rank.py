"""Fixed rank."""

import numpy as np
import pytest

from squeeze_onnx.compress.selectors import FixedRank
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.strategies import plant

SPECTRUM = Spectrum(np.array([3.0, 2.0, 1.0]), (3, 7), weighting="identity")


@pytest.mark.parametrize(("asked", "rank", "threshold"), [(0, 0, 3.0), (2, 2, 1.0), (3, 3, 0.0), (9, 3, 0.0)])
def test_as_many_as_asked_or_there_are(asked: int, rank: int, threshold: float) -> None:
    choice = FixedRank(asked).select(SPECTRUM)
    assert (choice.rank, choice.threshold, choice.selector) == (rank, threshold, "fixed")
    assert choice.reason == f"{asked} components asked for, of 3"


def test_the_strongest_of_planted_components_stay() -> None:
    planted = plant((60, 90), strengths=(9.0, 6.0, 4.0), noise_sigma=0.01, seed=0)
    choice = FixedRank(2).select(planted.spectrum)
    assert (choice.rank, choice.threshold) == (2, planted.spectrum.singular_values[2])


def test_a_negative_rank_is_refused() -> None:
    with pytest.raises(OptionError, match=r"the fixed rank must be an int ≥ 0\. Got -1"):
        FixedRank(-1)
