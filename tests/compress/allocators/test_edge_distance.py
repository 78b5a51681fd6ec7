"""Edge distance: one cut for all sites, in units of each site's own noise edge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.compress.allocators import Candidate, EdgeDistance
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from tests.compress.allocators.conftest import MakeCandidate


def test_components_far_above_their_own_edge_stay_first(candidate: MakeCandidate) -> None:
    noisy = candidate("noisy", [9, 8, 7, 6, 5, 4, 3, 2, 1, 1], (10, 40), edge=10.0)
    signal = candidate("signal", [9, 8, 7, 6, 5, 4, 3, 2, 1, 1], (10, 40), edge=1.0)
    ranks = {name: choice.rank for name, choice in EdgeDistance(0.5).allocate([noisy, signal]).items()}
    assert ranks == {"noisy": 0, "signal": 7}


def test_keeping_everything_keeps_every_component(candidate: MakeCandidate) -> None:
    site = candidate("a", [3, 2, 1], (3, 3))
    assert EdgeDistance(1.0).allocate([site])["a"].rank == 3


@pytest.mark.parametrize("edge", [2.0, 20.0], ids=["above the edge", "all below it"])
def test_a_weight_of_zeros_keeps_nothing_beside_one_with_signal(candidate: MakeCandidate, edge: float) -> None:
    zeros = candidate("zeros", [0.0] * 10, (10, 10), edge=0.0)
    signal = candidate("signal", list(range(10, 0, -1)), (10, 10), edge=edge)
    ranks = {name: choice.rank for name, choice in EdgeDistance(0.4).allocate([zeros, signal]).items()}
    assert ranks["zeros"] == 0
    assert ranks["signal"] > 0


@given(seed=st.integers(0, 2**32 - 1), keep=st.floats(0.15, 1.0))
def test_the_budget_holds_and_more_budget_never_means_less_rank(seed: int, keep: float) -> None:
    rng = np.random.default_rng(seed)
    sites = [
        Candidate(
            f"site {i}",
            Spectrum(np.sort(rng.gamma(2.0, size=12))[::-1], (12, 12 + 6 * i), "identity"),
            rng.uniform(0.5, 3),
        )
        for i in range(4)
    ]
    ranks = {name: choice.rank for name, choice in EdgeDistance(keep).allocate(sites).items()}
    more = {name: choice.rank for name, choice in EdgeDistance(min(1.0, keep * 1.2)).allocate(sites).items()}
    assert sum(site.parameters(ranks[site.name]) for site in sites) <= keep * sum(
        site.dense_parameters for site in sites
    )
    assert all(more[name] >= rank for name, rank in ranks.items())


@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_the_threshold_parts_what_stays_from_what_goes(candidate: MakeCandidate, keep: float) -> None:
    site = candidate("a", list(range(20, 0, -1)), (20, 30), edge=4.0)
    choice = EdgeDistance(keep).allocate([site])["a"]
    values = site.spectrum.singular_values
    assert values[choice.rank - 1] > choice.threshold == values[choice.rank]


def test_of_equals_the_first_sites_keep_more(candidate: MakeCandidate) -> None:
    sites = [candidate(name, [2.0] * 15 + [1.0] * 15, (30, 300)) for name in "ab"]
    # Of 18,000 parameters 11,550 stay, 330 a rank: all components of 2, and five of 1.
    ranks = {name: choice.rank for name, choice in EdgeDistance(11_550 / 18_000).allocate(sites).items()}
    assert ranks == {"a": 20, "b": 15}


@pytest.mark.parametrize(("extra_rank", "rank"), [(0, 3), (1, 2)])
def test_what_undoing_the_weighting_adds_is_paid_for_once(candidate: MakeCandidate, extra_rank: int, rank: int) -> None:
    site = candidate("a", list(range(10, 0, -1)), (10, 10), extra_rank=extra_rank)
    assert EdgeDistance(0.6).allocate([site])["a"].rank == rank


def test_the_reason_names_the_cut_in_units_of_the_edge(candidate: MakeCandidate) -> None:
    sites = [candidate("a", [9.0, 8.0, 6.0, 1.0], (4, 40), edge=2.0)]
    choice = EdgeDistance(0.9).allocate(sites)["a"]
    assert (choice.rank, choice.selector) == (3, "edge_distance")
    assert choice.reason == "singular values above 3 of the noise edge, for 0.9 of all parameters"
    nothing = EdgeDistance(0.2).allocate(sites)["a"]
    assert (nothing.rank, nothing.reason) == (
        0,
        "singular values far above the noise edge, for 0.2 of all parameters",
    )
