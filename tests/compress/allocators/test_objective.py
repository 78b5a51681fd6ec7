"""Objectives: what a parameter costs, and what is saved unless told otherwise."""

import numpy as np

from squeeze_onnx.compress.allocators import PARAMETERS, Objective, ParameterCount


def test_a_weight_costs_its_entries() -> None:
    sizes = np.array([1, 3])
    assert ParameterCount().into(5, sizes).tolist() == [5, 15]
    assert ParameterCount().out_of(sizes, 7).tolist() == [7, 21]


def test_parameters_are_counted_nothing_is_fixed_and_any_rank_will_do() -> None:
    assert Objective() == PARAMETERS
    assert (PARAMETERS.cost, PARAMETERS.fixed, PARAMETERS.rank_multiple) == (ParameterCount(), 0, 1)
