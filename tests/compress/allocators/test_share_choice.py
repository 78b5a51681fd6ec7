"""Sharing: what several weights with one left factor cost at each rank."""

import numpy as np

from squeeze_onnx.compress.allocators import ShareChoice, Sharing
from tests.compress.allocators.tolls import Toll

SHARING = Sharing(16, (("q", 16), ("k", 4)), np.array([0.0, 1.0, 2.0]))


def test_there_is_a_rank_for_each_output_error_down_to_one() -> None:
    assert SHARING.sites == ("q", "k")
    assert SHARING.sizes.tolist() == [3, 2, 1]
    assert SHARING.sizes_are_ranks


def test_it_costs_one_left_factor_and_all_right_ones() -> None:
    expected = [1000 + 100 * 16 + rank + 2 * 20_000 + 2 * 10 * rank + 300 * (16 + 4) for rank in (3, 2, 1)]
    assert SHARING.costs(Toll()).tolist() == expected


def test_each_site_is_told_the_rank_and_whose_left_factor_it_is() -> None:
    assert SHARING.choices(2, "why") == dict.fromkeys(("q", "k"), ShareChoice(2, "q", "why"))
