"""What an allocator sees of a site: its parameters and its cost at every rank."""

import numpy as np
import pytest

from squeeze_onnx.compress.allocators import PARAMETERS, Candidate
from squeeze_onnx.compress.allocators.base import parameter_budget
from tests.compress.allocators.conftest import MakeCandidate
from tests.compress.allocators.tolls import Toll

SHAPE = (4, 6)
VALUES = [4.0, 3.0, 2.0, 1.0]


@pytest.fixture
def site(candidate: MakeCandidate) -> Candidate:
    return candidate("a", VALUES, SHAPE)


def test_of_a_site_nothing_is_assumed(site: Candidate) -> None:
    assert (site.extra_rank, site.sensitivity, site.floor) == (0, 1, 0)


@pytest.mark.parametrize(
    ("rank", "extra_rank", "parameters"),
    [(1, 0, 10), (2, 0, 20), (1, 1, 20), (0, 0, 10), (0, 1, 10), (3, 0, 24), (2, 1, 24)],
    ids=["one", "two", "one and an extra", "none is one", "none but the extra", "dense", "dense with the extra"],
)
def test_parameters_are_those_of_two_factors_or_of_the_dense_weight(
    candidate: MakeCandidate, rank: int, extra_rank: int, parameters: int
) -> None:
    site = candidate("a", VALUES, SHAPE, extra_rank=extra_rank)
    assert site.parameters(rank) == parameters
    assert site.dense_parameters == 24


def test_a_dense_weight_is_one_product_into_its_columns(site: Candidate) -> None:
    assert site.dense_cost(Toll()) == 1000 + 100 * 4 + 6


@pytest.mark.parametrize("extra_rank", [0, 1])
def test_factors_are_a_product_into_the_rank_and_one_out_of_it(candidate: MakeCandidate, extra_rank: int) -> None:
    site = candidate("a", VALUES, SHAPE, extra_rank=extra_rank)
    expected = [21_000 + 100 * 4 + rank + 10 * rank + 300 * 6 for rank in (1 + extra_rank, 2 + extra_rank)]
    assert site.factored_costs(np.array([1, 2]), Toll()).tolist() == expected


@pytest.mark.parametrize("rank", [1, 2])
def test_counted_in_parameters_cost_is_parameters(site: Candidate, rank: int) -> None:
    assert site.factored_costs(np.array([rank]), PARAMETERS.cost).tolist() == [site.parameters(rank)]
    assert site.dense_cost(PARAMETERS.cost) == site.dense_parameters


def test_the_budget_is_a_whole_number_of_parameters_of_all_sites(candidate: MakeCandidate, site: Candidate) -> None:
    assert parameter_budget([site, candidate("b", [1.0], (1, 5))], 0.5) == 14
