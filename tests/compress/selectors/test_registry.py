"""Every selector that has a name keeps the promises of the protocol."""

import re

import numpy as np
import pytest
from hypothesis import given

from squeeze_onnx.compress.selectors import (
    SELECTORS,
    EffectiveRank,
    Energy,
    FixedRank,
    NoiseModel,
    OptimalHardThreshold,
    OptimalShrinkage,
    RankSelector,
    StableRank,
    TracyWidomEdge,
    selector_of,
)
from squeeze_onnx.spectral.rmt.noise import MedianSingularValue
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.strategies import spectra

MODEL = NoiseModel(MedianSingularValue(), 0.9)
RULES: dict[str, RankSelector] = {
    "tracy-widom": TracyWidomEdge(0.9, MedianSingularValue()),
    "hard-threshold": OptimalHardThreshold(MedianSingularValue()),
    "shrinkage": OptimalShrinkage(noise=MedianSingularValue()),
    "energy=0.9": Energy(0.9),
    "stable-rank": StableRank(),
    "effective-rank": EffectiveRank(),
    "fixed=4": FixedRank(4),
}


def test_every_rule_makes_its_selector() -> None:
    assert {rule: selector_of(rule, MODEL) for rule in RULES} == RULES
    assert [rule.split("=")[0] for rule in RULES] == list(SELECTORS)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("tracy_widom", "`rank_rule` is one of tracy-widom, hard-threshold, shrinkage, energy=F"),
        ("energy", "`rank_rule` energy is written energy=F; got 'energy'"),
        ("fixed=0.5", "`rank_rule` fixed is written fixed=N; got 'fixed=0.5'"),
        ("stable-rank=2", "`rank_rule` stable-rank is written stable-rank; got"),
        ("energy=1.5", "the energy fraction must be a float in the range"),
        ("energy=nan", "`rank_rule` energy is written energy=F"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=re.escape(sentence)):
        selector_of(rule, MODEL)


@pytest.mark.parametrize("rule", RULES)
@given(spectra())
def test_the_kept_are_the_largest_and_the_dropped_are_at_most_the_threshold(rule: str, spectrum: Spectrum) -> None:
    choice = RULES[rule].select(spectrum)
    values = spectrum.singular_values
    assert choice.selector == rule.split("=", maxsplit=1)[0]
    assert 0 <= choice.rank <= len(values)
    assert np.all(values[: choice.rank] >= choice.threshold)
    assert np.all(values[choice.rank :] <= choice.threshold)
