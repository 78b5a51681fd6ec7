"""Spending a budget on curves: all that can be had, and close to the best."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.allocators.covers import Curve
from squeeze_onnx.compress.allocators.lagrangian import Allocation, spend


def curve(name: str, costs: list[int], errors: list[float]) -> Curve:
    return Curve((name,), np.array(costs), np.array(errors), lambda index: {})


@st.composite
def curves(draw: st.DrawFn, name: str) -> Curve:
    """A curve as allocators make them: whatever costs more loses less."""
    costs = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True).map(sorted))
    errors = draw(st.lists(st.integers(0, 1000), min_size=len(costs), max_size=len(costs), unique=True).map(sorted))
    return curve(name, costs, [float(error) for error in reversed(errors)])


def spent_alone(*each: Curve, budget: float) -> Allocation:
    """Spend ``budget`` on curves of which each is the only way to decide for its site."""
    return spend([[(one,)] for one in each], budget)


@settings(deadline=None, max_examples=40)
@given(curves("a"), st.integers(0, 50))
def test_a_single_site_gets_the_best_that_the_budget_can_pay(one: Curve, budget: int) -> None:
    affordable = np.count_nonzero(one.costs <= budget)
    assert list(spent_alone(one, budget=budget).chosen) == [max(affordable - 1, 0)]


@settings(deadline=None, max_examples=40)
@given(curves("a"), curves("b"), curves("c"), st.integers(0, 120))
def test_of_several_sites_none_could_have_more_and_the_sum_is_near_the_best(
    one: Curve, two: Curve, three: Curve, budget: int
) -> None:
    every = (one, two, three)
    found = spent_alone(*every, budget=budget)
    left = budget - found.cost
    if left < 0:
        assert list(found.chosen) == [0, 0, 0]
        return
    for each, index in zip(every, found.chosen, strict=True):
        assert not np.any(each.costs[index + 1 :] - each.costs[index] <= left)
    ways = product(*(range(len(each.costs)) for each in every))
    payable = (Allocation(every, way) for way in ways if Allocation(every, way).cost <= budget)
    best = min(allocation.error for allocation in payable)
    # What lies under the convex hull of one curve may be missed.
    assert best <= found.error <= best + max(float(np.ptp(each.error)) for each in every)


def test_an_allocation_costs_and_loses_what_is_chosen_does() -> None:
    allocation = Allocation([curve("a", [1, 2], [9.0, 4.0]), curve("b", [10, 20], [0.5, 0.25])], [1, 0])
    assert (allocation.cost, allocation.error) == (12, 4.5)


def test_what_is_left_goes_where_it_gains_most_for_its_cost() -> None:
    """At the price of the hull neither can have its next step; of the three that fit, c gains least of all but costs least."""
    steep, flat, cheap = (
        curve("a", [10, 14, 40], [100.0, 92.0, 0.0]),
        curve("b", [10, 15, 40], [100.0, 95.0, 1.0]),
        curve("c", [10, 11, 40], [100.0, 97.0, 2.0]),
    )
    assert list(spent_alone(steep, flat, cheap, budget=31).chosen) == [0, 0, 1]
    assert list(spent_alone(steep, flat, cheap, budget=35).chosen) == [1, 0, 1]
    assert list(spent_alone(steep, flat, cheap, budget=39).chosen) == [1, 0, 1]
    assert list(spent_alone(steep, flat, cheap, budget=40).chosen) == [1, 1, 1]


@pytest.mark.parametrize(("budget", "chosen"), [(5, {"ab"}), (7, {"a", "b"}), (0, {"ab"})])
def test_of_covers_the_best_that_can_be_paid_is_taken(budget: int, chosen: set[str]) -> None:
    alone = (curve("a", [3, 9], [2.0, 0.0]), curve("b", [4, 9], [2.0, 0.0]))
    together = Curve(("a", "b"), np.array([2, 5]), np.array([9.0, 5.0]), lambda index: {})
    found = spend([[alone, (together,)]], budget)
    assert {"".join(each.sites) for each in found.curves} == chosen


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1.0, 1e9])
def test_it_does_not_matter_what_costs_are_counted_in(unit: float) -> None:
    curves = [
        Curve((name,), unit * np.array([10, 20, 40]), np.array([5.0, 2.0, 0.0]), lambda index: {}) for name in "ab"
    ]
    assert list(spent_alone(*curves, budget=unit * 40.5).chosen) == [1, 1]
