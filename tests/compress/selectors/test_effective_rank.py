"""Effective rank as a selector."""

import numpy as np
import pytest

from squeeze_onnx.compress.selectors import EffectiveRank
from squeeze_onnx.spectral.rmt.spectrum import Spectrum


@pytest.mark.parametrize(
    ("values", "rank"),
    [([5.0, 0.0, 0.0], 1), ([2.0, 2.0, 0.0], 2), ([3.0, 3.0, 3.0], 3), ([4.0, 1.0, 1.0], 3), ([0.0, 0.0, 0.0], 0)],
    ids=["one component", "two equal", "all equal", "one that stands out", "zeros"],
)
def test_effective_rank_by_hand(values: list[float], rank: int) -> None:
    """4, 1, 1: exp(−(⅔ ln ⅔ + ⅓ ln ⅙)) = 2.38, rounded up."""
    choice = EffectiveRank().select(Spectrum(np.array(values), (3, 7), weighting="identity"))
    assert (choice.rank, choice.selector) == (rank, "effective-rank")
