"""Every selector that has a name keeps the promises of the protocol."""

import numpy as np
import pytest
from hypothesis import given

from squeeze_onnx.compress.selectors import (
    SELECTORS,
    Energy,
    FixedRank,
    FixedRatio,
    OptimalHardThreshold,
    OptimalShrinkage,
    RankSelector,
    StableRank,
    TracyWidomEdge,
)
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.strategies import spectra

BY_NAME: dict[str, RankSelector] = {
    "tracy_widom": TracyWidomEdge(),
    "optimal_hard_threshold": OptimalHardThreshold(),
    "optimal_shrinkage": OptimalShrinkage(),
    "energy": Energy(),
    "stable_rank": StableRank(),
    "fixed_rank": FixedRank(4),
    "fixed_ratio": FixedRatio(0.3),
}


def test_every_name_stands_for_its_class() -> None:
    assert {name: type(selector) for name, selector in BY_NAME.items()} == SELECTORS


@pytest.mark.parametrize("name", SELECTORS)
@given(spectra())
def test_the_kept_are_the_largest_and_the_dropped_are_at_most_the_threshold(name: str, spectrum: Spectrum) -> None:
    choice = BY_NAME[name].select(spectrum)
    values = spectrum.singular_values
    assert choice.selector == name
    assert 0 <= choice.rank <= len(values)
    assert np.all(values[: choice.rank] >= choice.threshold)
    assert np.all(values[choice.rank :] <= choice.threshold)
