"""Covers: every way to decide for every site once, and no other."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.allocators.covers import Curve, cheapest_curves, covers_of

SITES = "qkvo"


def curve(sites: str, error: float = 0.0) -> Curve:
    return Curve(tuple(sites), np.array([1]), np.array([error]), lambda index: {})


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
    best = min(sum(each.total(1.0) for each in subset) for subset in exact)
    found = cheapest_curves(covers_of(curves), 1.0)
    assert sorted(site for each in found for site in each.sites) == sorted(SITES)
    np.testing.assert_allclose(sum(each.total(1.0) for each in found), best)


def test_of_equals_each_site_decides_alone() -> None:
    found = cheapest_curves(covers_of([curve("q", 0.5), curve("k", 0.5), curve("qk", 2.0)]), 1.0)
    assert [each.sites for each in found] == [("q",), ("k",)]
