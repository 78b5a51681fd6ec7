"""Global budget: least summed error for the parameters, dense where factors do not pay."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.compress.allocators import (
    Candidate,
    Choice,
    GlobalBudget,
    Objective,
    RemovalChoice,
    ShareChoice,
    Sharing,
    SliceChoice,
    Slicing,
    Uniform,
)
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.compress.allocators.conftest import MakeCandidate


def total_error(sites: list[Candidate], ranks: dict[str, int]) -> float:
    def error(site: Candidate) -> float:
        energy = np.square(site.spectrum.singular_values)
        dense = site.parameters(ranks[site.name]) == site.dense_parameters
        return 0.0 if dense else site.sensitivity * float(energy[ranks[site.name] :].sum() / energy.sum())

    return sum(error(site) for site in sites)


def total_parameters(sites: list[Candidate], ranks: dict[str, int]) -> int:
    return sum(site.parameters(ranks[site.name]) for site in sites)


def random_sites(seed: int, count: int = 3, length: int = 6) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [
        Candidate(
            f"site {i}",
            Spectrum(np.sort(rng.gamma(1.0, size=length))[::-1], (length, length + 4 * i), "identity"),
            edge=1.0,
            sensitivity=float(rng.uniform(0.2, 3)),
        )
        for i in range(count)
    ]


def allocated(sites: list[Candidate], allocator: GlobalBudget | Uniform) -> dict[str, int]:
    choices = allocator.allocate(sites)
    return {name: choice.rank for name, choice in choices.items() if isinstance(choice, RankChoice)}


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), keep=st.floats(0.4, 1.0))
def test_it_stays_within_the_budget_and_close_to_the_best_of_all_allocations(seed: int, keep: float) -> None:
    sites = random_sites(seed)
    budget = keep * sum(site.dense_parameters for site in sites)
    ranks = allocated(sites, GlobalBudget(keep))
    assert total_parameters(sites, ranks) <= budget
    every = [dict(zip(ranks, choice, strict=True)) for choice in product(range(1, 7), repeat=3)]
    best = min(total_error(sites, choice) for choice in every if total_parameters(sites, choice) <= budget)
    # The Lagrangian misses what lies under the convex hull: at most one step of one site.
    assert total_error(sites, ranks) <= best + max(site.sensitivity for site in sites) * 0.5


def test_a_site_that_matters_more_keeps_more(candidate: MakeCandidate) -> None:
    values = list(np.linspace(10, 1, 20))
    plain, vital = candidate("plain", values, (20, 80)), candidate("vital", values, (20, 80), sensitivity=20.0)
    ranks = allocated([plain, vital], GlobalBudget(0.5))
    assert ranks["vital"] > ranks["plain"]


def test_a_flat_spectrum_stays_dense_when_a_steep_one_can_pay(candidate: MakeCandidate) -> None:
    flat = candidate("flat", [1.0] * 20, (20, 20))
    steep = candidate("steep", list(0.5 ** np.arange(20)), (20, 20))
    ranks = allocated([flat, steep], GlobalBudget(0.7))
    assert flat.parameters(ranks["flat"]) == flat.dense_parameters
    assert ranks["steep"] < 8


def test_it_is_never_worse_than_the_same_fraction_everywhere() -> None:
    sites = random_sites(7, count=6, length=24)
    assert total_error(sites, allocated(sites, GlobalBudget(0.5))) <= total_error(sites, allocated(sites, Uniform(0.5)))


@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_ranks_are_multiples(candidate: MakeCandidate, multiple: int) -> None:
    sites = [candidate(name, list(np.linspace(9, 1, 64)), (64, 256)) for name in "ab"]
    ranks = allocated(sites, GlobalBudget(0.4, objective=Objective(rank_multiple=multiple)))
    assert all(rank % multiple == 0 for rank in ranks.values())


def test_ranks_of_a_site_lie_on_its_own_grid_and_on_that_of_the_objective(candidate: MakeCandidate) -> None:
    values = list(np.linspace(9, 1, 64))
    sites = [candidate("table", values, (64, 256), rank_step=6), candidate("product", values, (64, 256))]
    ranks = allocated(sites, GlobalBudget(0.4, objective=Objective(rank_multiple=4)))
    assert ranks["table"] % 12 == 0 < ranks["table"]
    assert ranks["product"] % 4 == 0


def test_a_floor_keeps_every_site_above_its_share(candidate: MakeCandidate) -> None:
    sites = [
        candidate("vital", list(np.linspace(9, 1, 32)), (32, 128), sensitivity=100.0, floor=0.1),
        candidate("idle", list(np.linspace(9, 1, 32)), (32, 128), sensitivity=0.01, floor=0.25),
    ]
    ranks = allocated(sites, GlobalBudget(0.5))
    free = allocated([replace(site, floor=0.0) for site in sites], GlobalBudget(0.5))
    vital, idle = sites
    assert idle.parameters(free["idle"]) < 0.25 * idle.dense_parameters <= idle.parameters(ranks["idle"])
    assert vital.parameters(ranks["vital"]) > 0.5 * vital.dense_parameters
    assert total_parameters(sites, ranks) <= 0.5 * 2 * 32 * 128


def test_a_floor_is_met_by_just_its_share(candidate: MakeCandidate) -> None:
    """Rank 2 of (10, 10) takes 40 of 100 parameters, which is the floor and the budget."""
    site = candidate("a", list(range(10, 0, -1)), (10, 10), floor=0.4)
    assert allocated([site], GlobalBudget(0.4)) == {"a": 2}


def test_a_floor_of_one_leaves_a_site_dense(candidate: MakeCandidate) -> None:
    sites = [candidate(name, [1.0] * 8, (8, 40), floor=floor) for name, floor in (("kept", 1.0), ("free", 0.0))]
    ranks = allocated(sites, GlobalBudget(0.7))
    assert sites[0].parameters(ranks["kept"]) == sites[0].dense_parameters


def test_floors_that_cost_more_than_the_budget_are_refused(candidate: MakeCandidate) -> None:
    sites = [candidate(name, list(np.linspace(9, 1, 32)), (32, 128), floor=0.6) for name in "ab"]
    with pytest.raises(OptionError, match=r"`keep` 0\.5 is too little: .* at least 0\.6250 .* less to `floor`"):
        GlobalBudget(0.5).allocate(sites)


def test_a_budget_below_the_thinnest_weights_is_refused_without_a_word_of_floors(candidate: MakeCandidate) -> None:
    site = candidate("a", list(np.linspace(9, 1, 32)), (32, 128))
    with pytest.raises(
        OptionError, match=r"`keep` 0\.01 is too little: at least .* the weights get; give more to `keep`$"
    ):
        GlobalBudget(0.01).allocate([site])


def test_weights_of_zeros_cost_the_least(candidate: MakeCandidate) -> None:
    sites = [candidate("zeros", [0.0] * 10, (10, 10)), candidate("signal", list(range(10, 0, -1)), (10, 10))]
    assert allocated(sites, GlobalBudget(0.6))["zeros"] == 1


class TestBlocks:
    """Two sites (8, 40) and (40, 8) with a slow spectrum, so that low rank costs much."""

    SITES = tuple(
        Candidate(name, Spectrum(np.ones(8), shape, "identity"), edge=0.0)
        for name, shape in (("in", (8, 40)), ("out", (40, 8)))
    )

    def slicing(self, output_error: float) -> Slicing:
        """Every neuron that goes costs the same: ``output_error`` if all 40 go."""
        sizes = np.arange(40, 0, -1)
        return Slicing((("in", 8),), (("out", 8),), sizes, output_error * (40 - sizes) / 40)

    def test_lose_neurons_where_that_is_cheaper_than_rank(self) -> None:
        choices = GlobalBudget(0.5, (self.slicing(0.1),)).allocate(self.SITES)
        assert {name: choice.shape for name, choice in choices.items() if isinstance(choice, SliceChoice)} == {
            "in": (8, 20),
            "out": (20, 8),
        }

    def test_keep_their_neurons_where_rank_is_cheaper(self) -> None:
        choices = GlobalBudget(0.5, (self.slicing(10.0),)).allocate(self.SITES)
        assert {type(choice) for choice in choices.values()} == {RankChoice}

    def test_share_the_budget_with_sites_outside(self) -> None:
        other = Candidate("other", Spectrum(np.array([9.0, *[0.1] * 7]), (8, 8), "identity"), edge=0.0)
        choices = GlobalBudget(0.5, (self.slicing(0.1),)).allocate([*self.SITES, other])
        ranks = {name: choice for name, choice in choices.items() if isinstance(choice, RankChoice)}
        shapes = [choice.shape for choice in choices.values() if isinstance(choice, SliceChoice)]
        spent = other.parameters(ranks["other"].rank) + sum(rows * columns for rows, columns in shapes)
        assert ranks.keys() == {"other"}
        assert spent <= 0.5 * (320 + 320 + 64) < spent + 16 + 16

    def test_of_which_a_floor_leaves_enough(self) -> None:
        """The block as a whole keeps what the more demanding of its sites does."""
        other = Candidate("other", Spectrum(np.ones(8), (8, 40), "identity"), edge=0.0, sensitivity=9.0)
        sites = (self.SITES[0], replace(self.SITES[1], floor=0.3), other)
        choices = GlobalBudget(0.5, (self.slicing(0.0),)).allocate(sites)
        assert {choice.shape for choice in choices.values() if isinstance(choice, SliceChoice)} == {(8, 12), (12, 8)}


class TestSharing:
    """Query, key, value and output (16, 16) of slow spectra; the first three may share a left factor."""

    SITES = tuple(
        Candidate(name, Spectrum(np.linspace(2, 1, 16), (16, 16), "identity"), edge=0.0)
        for name in ("q", "k", "v", "o")
    )
    PAYS = 11

    def sharing(self, output_error: float, names: str = "qkv") -> Sharing:
        """What stays of rank r loses ``output_error`` for each of all `PAYS` ranks that pay."""
        return Sharing(16, tuple((name, 16) for name in names), output_error * (16 - np.arange(self.PAYS, 0, -1)))

    def spent(self, choices: Mapping[str, Choice]) -> int:
        """Parameters, the shared left factors counted once."""
        left = {choice.first: choice.rank * 16 for choice in choices.values() if isinstance(choice, ShareChoice)}
        shared = sum(choice.rank * 16 for choice in choices.values() if isinstance(choice, ShareChoice))
        alone = sum(
            site.parameters(choice.rank) for site in self.SITES if isinstance(choice := choices[site.name], RankChoice)
        )
        sliced = sum(int(np.prod(choice.shape)) for choice in choices.values() if isinstance(choice, SliceChoice))
        return sum(left.values()) + shared + alone + sliced

    def test_is_chosen_where_it_costs_less_than_ranks(self) -> None:
        choices = GlobalBudget(0.5, (self.sharing(0.001),)).allocate(self.SITES)
        shared = [choices[name] for name in "qkv"]
        assert all(isinstance(choice, ShareChoice) and choice.first == "q" for choice in shared)
        assert len({choice.rank for choice in shared if isinstance(choice, ShareChoice)}) == 1
        assert isinstance(choices["o"], RankChoice)
        assert 0.4 * 4 * 256 < self.spent(choices) <= 0.5 * 4 * 256

    def test_is_not_where_ranks_cost_less(self) -> None:
        choices = GlobalBudget(0.5, (self.sharing(1.0),)).allocate(self.SITES)
        assert choices == GlobalBudget(0.5).allocate(self.SITES)

    @settings(deadline=None, max_examples=40)
    @given(output_errors=st.lists(st.floats(1e-4, 0.3), min_size=4, max_size=4), keep=st.floats(0.2, 0.9))
    def test_of_choices_that_overlap_each_site_gets_one_and_all_stay_within_the_budget(
        self, output_errors: list[float], keep: float
    ) -> None:
        sizes = np.arange(16, 0, -1)
        alternatives = (
            Slicing((("q", 16), ("k", 16)), (), sizes, output_errors[0] * (16 - sizes)),
            Slicing((("v", 16),), (("o", 16),), sizes, output_errors[1] * (16 - sizes)),
            self.sharing(output_errors[2]),
            self.sharing(output_errors[3], "qk"),
        )
        choices = GlobalBudget(keep, alternatives).allocate(self.SITES)
        assert choices.keys() == {"q", "k", "v", "o"}
        assert self.spent(choices) <= keep * 4 * 256
        for name, choice in choices.items():
            if isinstance(choice, ShareChoice):
                others = [other for other, their in choices.items() if their == choice]
                assert "".join(others) in ("qkv", "qk")
                assert choice.first == "q"
                assert name in others

    def test_is_used_at_the_budget_even_where_the_best_price_leaps_over_it(self) -> None:
        """Above a price all but one dimension goes, for 48 parameters; below it rank 11 is shared, for 704 of 537 allowed."""
        three = tuple((name, 16) for name in "qkv")
        slicing = Slicing(three, (), np.array([16, 1]), np.array([0.0, 1.0]))
        sharing = Sharing(16, three, np.array([0.0, 0.2, 0.35, 0.5, *[5.0] * 7]))
        choices = GlobalBudget(0.7, (slicing, sharing)).allocate(self.SITES[:3])
        assert {choice.rank for choice in choices.values() if isinstance(choice, ShareChoice)} == {8}

    @pytest.mark.parametrize("keep", [0.4, 0.5, 0.6, 0.65])
    def test_has_ranks_that_are_multiples(self, keep: float) -> None:
        objective = Objective(rank_multiple=4)
        choices = GlobalBudget(keep, (self.sharing(0.001),), objective=objective).allocate(self.SITES)
        assert {choice.rank % 4 for choice in choices.values() if isinstance(choice, ShareChoice)} == {0}

    def test_is_no_way_around_a_floor(self) -> None:
        """Of rank 11 the three keep 704 of 768 parameters."""
        other = Candidate("x", Spectrum(np.ones(16), (16, 64), "identity"), edge=0.0)
        for floor, type_of_choice in ((0.9, ShareChoice), (0.95, RankChoice)):
            sites = (*self.SITES[:2], replace(self.SITES[2], floor=floor), self.SITES[3], other)
            choices = GlobalBudget(0.7, (self.sharing(0.0),)).allocate(sites)
            assert isinstance(choices["v"], type_of_choice)


def test_a_forecast_is_what_the_allocation_of_each_budget_costs_and_loses() -> None:
    sites = random_sites(seed=3)
    forecasts = GlobalBudget(0.5).forecast(sites, (0.01, 0.3, 0.6, 0.9))
    assert [forecast.keep for forecast in forecasts] == [0.3, 0.6, 0.9], "nothing fits in a hundredth"
    dense = sum(site.dense_parameters for site in sites)
    for forecast in forecasts:
        ranks = allocated(sites, GlobalBudget(forecast.keep))
        assert forecast.share == pytest.approx(total_parameters(sites, ranks) / dense)
        assert forecast.share <= forecast.keep
        assert forecast.output_error == pytest.approx(total_error(sites, ranks))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_lost_is_never_less_than_nothing(seed: int) -> None:
    """Of a weight of rank 11 rounding leaves a little more or less than nothing."""
    values = np.append(np.sort(np.random.default_rng(seed).gamma(1.0, size=11))[::-1], np.zeros(20))
    site = Candidate("a", Spectrum(values, (31, 90), "identity"), edge=1.0)
    [forecast] = GlobalBudget(0.9).forecast([site], [0.9])
    assert 0 <= forecast.output_error < 1e-12


@pytest.mark.parametrize(
    ("multiple", "keep", "rank"), [(1, 0.25, 0), (1, 0.4, 1), (4, 0.8, 3)], ids=["none", "one", "a multiple"]
)
def test_the_rank_that_undoing_the_weighting_adds_is_one_of_those_that_are_paid(
    candidate: MakeCandidate, multiple: int, keep: float, rank: int
) -> None:
    """Of a weight (10, 10), rank r takes 20 (r + 1) of 100 parameters; (10, 40) 50 (r + 1) of 400."""
    shape = (10, 10) if multiple == 1 else (10, 40)
    site = candidate("a", list(range(10, 0, -1)), shape, extra_rank=1)
    choices = GlobalBudget(keep, objective=Objective(rank_multiple=multiple)).allocate([site])
    assert isinstance(choices["a"], RankChoice)
    assert choices["a"].rank == rank


def test_reasons_name_the_share_of_the_site_and_of_the_whole(candidate: MakeCandidate) -> None:
    values = list(np.linspace(9, 1, 32))
    choice = GlobalBudget(0.5).allocate([candidate("a", values, (32, 96))])["a"]
    assert isinstance(choice, RankChoice)
    assert (choice.rank, choice.selector, choice.threshold) == (12, "global_budget", values[12])
    assert choice.reason == "0.5 of its parameters, as its share of 0.5 of the parameters of the eligible weights"


def test_reasons_of_blocks_name_the_share_of_the_block() -> None:
    blocks = TestBlocks()
    sliced = GlobalBudget(0.5, (blocks.slicing(0.1),)).allocate(blocks.SITES)
    assert {choice.reason.split(",")[0] for choice in sliced.values()} == {"0.5 of its parameters"}


class TestFixedCosts:
    """An objective of which 1000 is spent on what no weight is, a parameter costing 1."""

    OBJECTIVE = Objective("the bytes", fixed=1000.0)

    def sites(self) -> list[Candidate]:
        return random_sites(seed=5, count=2, length=20)

    def test_are_paid_first(self) -> None:
        sites = self.sites()
        dense = sum(site.dense_parameters for site in sites)
        keep = (1000 + 0.5 * dense) / (1000 + dense)
        fixed = GlobalBudget(keep, objective=self.OBJECTIVE).allocate(sites)
        free = GlobalBudget(0.5).allocate(sites)
        ranks = [{name: c.rank for name, c in each.items() if isinstance(c, RankChoice)} for each in (fixed, free)]
        assert ranks[0] == ranks[1]

    def test_count_in_what_is_forecast(self) -> None:
        sites = self.sites()
        dense = sum(site.dense_parameters for site in sites)
        [forecast] = GlobalBudget(0.5, objective=self.OBJECTIVE).forecast(sites, [0.99])
        ranks = allocated(sites, GlobalBudget(0.99, objective=self.OBJECTIVE))
        assert forecast.share == pytest.approx((1000 + total_parameters(sites, ranks)) / (1000 + dense))

    def test_are_said_where_they_alone_are_too_much(self) -> None:
        sites = self.sites()
        least = 1000 + sum(site.parameters(1) for site in sites)
        share = least / (1000 + sum(site.dense_parameters for site in sites))
        with pytest.raises(OptionError, match=f"at least {share:.4f} of the bytes stays"):
            GlobalBudget(0.1, objective=self.OBJECTIVE).allocate(sites)


class Steps:
    """A cost that grows in steps of eight, as that of vector instructions does."""

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        return np.asarray(rows * (-(-sizes // 8)))

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        return np.asarray(-(-sizes // 8) * columns)


def test_of_ranks_that_cost_the_same_the_highest_is_chosen(candidate: MakeCandidate) -> None:
    sites = [candidate(name, list(np.linspace(9, 1, 32)), (32, 96)) for name in "ab"]
    choices = GlobalBudget(0.75, objective=Objective(cost=Steps())).allocate(sites)
    ranks = [choice.rank for choice in choices.values() if isinstance(choice, RankChoice)]
    assert len(ranks) == 2
    assert all(rank % 8 == 0 or rank == 23 for rank in ranks), (
        "24 is where factors are as many parameters as the weight"
    )


def test_what_is_chosen_is_a_plain_number_that_json_takes(candidate: MakeCandidate) -> None:
    blocks, sharing = TestBlocks(), TestSharing()
    every = [
        *GlobalBudget(0.5).allocate([candidate("a", [3.0, 2.0, 1.0, 0.5], (4, 40))]).values(),
        *GlobalBudget(0.5, (blocks.slicing(0.1),)).allocate(blocks.SITES).values(),
        *GlobalBudget(0.5, (sharing.sharing(0.001),)).allocate(sharing.SITES).values(),
    ]
    for choice in every:
        assert not isinstance(choice, RemovalChoice)
        numbers = choice.shape if isinstance(choice, SliceChoice) else (choice.rank,)
        assert {type(number) for number in numbers} == {int}


def test_of_ranks_that_cost_and_lose_the_same_one_is_chosen(candidate: MakeCandidate) -> None:
    sites = [candidate("zeros", [0.0] * 32, (32, 96)), candidate("a", list(np.linspace(9, 1, 32)), (32, 96))]
    ranks = allocated(sites, GlobalBudget(0.75, objective=Objective(cost=Steps())))
    assert ranks["zeros"] == 1
