"""Uniform: the same fraction of the parameters everywhere."""

import pytest

from squeeze_onnx.compress.allocators import Uniform
from tests.compress.allocators.conftest import MakeCandidate


@pytest.mark.parametrize(
    ("shape", "keep", "rank"),
    [((8, 8), 0.5, 2), ((8, 32), 0.5, 3), ((8, 8), 0.25, 1), ((8, 8), 1.0, 8)],
    ids=["square", "wide", "quarter", "everything"],
)
def test_the_rank_is_the_largest_that_fits(
    candidate: MakeCandidate, shape: tuple[int, int], keep: float, rank: int
) -> None:
    site = candidate("a", [1.0] * min(shape), shape)
    assert Uniform(keep).allocate([site])["a"].rank == rank


def test_the_mean_counts_as_one_of_the_affordable_ranks(candidate: MakeCandidate) -> None:
    site = candidate("a", [1.0] * 8, (8, 32), extra_rank=1)
    assert Uniform(0.5).allocate([site])["a"].rank == 2


def test_a_budget_below_rank_one_still_keeps_one(candidate: MakeCandidate) -> None:
    assert Uniform(0.01).allocate([candidate("a", [1.0] * 8, (8, 8))])["a"].rank == 1


def test_a_budget_below_the_mean_alone_still_keeps_the_mean(candidate: MakeCandidate) -> None:
    choice = Uniform(0.01).allocate([candidate("a", [1.0] * 8, (8, 8), extra_rank=1)])["a"]
    assert (choice.rank, choice.selector) == (0, "uniform")
    assert choice.reason == "0.01 of the parameters of every site"


@pytest.mark.parametrize(("keep", "rank"), [(0.99, 7), (1.0, 8), (1.5, 8)])
def test_all_of_the_parameters_are_all_of_the_components(candidate: MakeCandidate, keep: float, rank: int) -> None:
    assert Uniform(keep).allocate([candidate("a", [1.0] * 8, (8, 80), extra_rank=0)])["a"].rank == rank
