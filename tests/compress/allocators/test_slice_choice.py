"""Slicing: what a block of weights costs and becomes when columns go."""

import numpy as np

from squeeze_onnx.compress.allocators import ParameterCount, SliceChoice, Slicing
from tests.compress.allocators.tolls import Toll

BLOCK = Slicing((("gate", 8), ("up", 9)), (("down", 7),), np.array([40, 20]), np.array([0.0, 1.0]))


def test_its_sites_are_those_before_and_those_after() -> None:
    assert BLOCK.sites == ("gate", "up", "down")
    assert not BLOCK.sizes_are_ranks


def test_it_costs_what_all_its_weights_do() -> None:
    expected = [2000 + 100 * (8 + 9) + 2 * size + 20_000 + 10 * size + 300 * 7 for size in (40, 20)]
    assert BLOCK.costs(Toll()).tolist() == expected


def test_columns_that_stay_are_columns_before_and_rows_after() -> None:
    assert BLOCK.choices(20, "why") == {
        "gate": SliceChoice((8, 20), "why"),
        "up": SliceChoice((9, 20), "why"),
        "down": SliceChoice((20, 7), "why"),
    }


def test_sites_may_lose_several_columns_with_each() -> None:
    """Two heads of the attention read each head of the value."""
    shared = Slicing((("value", 8),), (("output", 7),), np.array([40, 20]), np.array([0.0, 1.0]), {"output": 2})
    assert shared.costs(ParameterCount()).tolist() == [8 * size + 2 * size * 7 for size in (40, 20)]
    assert shared.choices(20, "why") == {"value": SliceChoice((8, 20), "why"), "output": SliceChoice((40, 7), "why")}
