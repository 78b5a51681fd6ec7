"""Effective-rank reduction: the paper's FFN regime."""

import numpy as np
import pytest

from squeeze_onnx.compress.allocators import EffectiveRankReduction
from squeeze_onnx.spectral.rmt.spectrum import effective_rank
from tests.compress.allocators.conftest import MakeCandidate


@pytest.mark.parametrize("reduction", [0.2, 0.64, 0.9])
def test_the_rank_is_the_smallest_that_leaves_enough_effective_rank(candidate: MakeCandidate, reduction: float) -> None:
    values = np.linspace(5, 1, 60)
    rank = EffectiveRankReduction(reduction).allocate([candidate("a", list(values), (60, 240))])["a"].rank
    target = (1 - reduction) * effective_rank(values)
    assert effective_rank(values[:rank]) >= target > effective_rank(values[: rank - 1])


def test_a_weight_of_zeros_keeps_nothing(candidate: MakeCandidate) -> None:
    assert EffectiveRankReduction(0.64).allocate([candidate("a", [0.0] * 4, (4, 4))])["a"].rank == 0


def test_nothing_is_reduced_by_nothing(candidate: MakeCandidate) -> None:
    choice = EffectiveRankReduction(0.0).allocate([candidate("a", [2.0, 1.0, 1.0, 0.0], (4, 4))])["a"]
    assert (choice.rank, choice.threshold) == (3, 0)


def test_the_reason_names_the_effective_rank_and_what_goes_of_it(candidate: MakeCandidate) -> None:
    choice = EffectiveRankReduction(0.75).allocate([candidate("a", [1.0] * 8, (8, 8))])["a"]
    assert (choice.rank, choice.selector) == (2, "effective_rank")
    assert choice.reason == "effective rank 8.0 reduced by 75 %"
