"""Covers: every way to decide for every site once, and no other."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.allocators.covers import Curve, SideBySide, covers_of

SITES = "qkvo"


def curve(sites: str, error: float = 0.0) -> Curve:
    return Curve(tuple(sites), np.array([1]), np.array([error]), lambda index: {})


def least(curve: Curve) -> float:
    """Return the least error + cost."""
    return float(np.min(curve.error + curve.costs))


def spelled(covers: tuple[tuple[Curve, ...], ...]) -> set[tuple[str, ...]]:
    return {tuple(sorted("".join(curve.sites) for curve in cover)) for cover in covers}


def test_choices_for_some_sites_together_are_combined_where_they_do_not_overlap() -> None:
    attention, feed_forward, other = covers_of([curve(sites) for sites in (*"qkvoifx", "qk", "vo", "qkv", "if")])
    assert spelled(attention) == {
        *[("k", "o", "q", "v"), ("o", "qk", "v"), ("k", "q", "vo"), ("qk", "vo"), ("o", "qkv")],
    }
    assert spelled(feed_forward) == {("f", "i"), ("if",)}
    assert spelled(other) == {("x",)}


@settings(deadline=None)
@given(
    together=st.lists(st.sets(st.sampled_from(SITES), min_size=2, max_size=4).map(sorted).map("".join), max_size=4),
    errors=st.lists(st.floats(0, 10), min_size=len(SITES) + 4, max_size=len(SITES) + 4),
)
def test_the_cheapest_is_the_cheapest_of_all_sets_of_curves_that_decide_for_each_site_once(
    together: list[str], errors: list[float]
) -> None:
    curves = [curve(sites, error) for sites, error in zip([*SITES, *together], errors, strict=False)]
    subsets = (subset for count in range(1, len(SITES) + 1) for subset in combinations(curves, count))
    exact = [subset for subset in subsets if sorted("".join("".join(each.sites) for each in subset)) == sorted(SITES)]
    best = min(sum(least(each) for each in subset) for subset in exact)
    found = SideBySide(covers_of(curves)).cheapest(1.0)
    assert sorted(site for each in found for site in each.sites) == sorted(SITES)
    np.testing.assert_allclose(sum(least(each) for each in found), best)


def test_of_equals_each_site_decides_alone() -> None:
    found = SideBySide(covers_of([curve("q", 0.5), curve("k", 0.5), curve("qk", 2.0)])).cheapest(1.0)
    assert [each.sites for each in found] == [("q",), ("k",)]


def test_what_is_spent_at_a_price_is_what_the_cheaper_one_of_equals_costs() -> None:
    tied = Curve(("q",), np.array([1.0, 3.0, 4.0]), np.array([2.0, 0.0, 0.0]), lambda index: {})
    steep = Curve(("k",), np.array([2.0, 5.0]), np.array([9.0, 0.0]), lambda index: {})
    curves = SideBySide(covers_of([tied, steep]))
    assert [curves.spent(price) for price in (0.0, 0.5, 1.0, 2.0, 10.0)] == [8.0, 8.0, 6.0, 6.0, 3.0]
    assert SideBySide(()).spent(1.0) == 0
