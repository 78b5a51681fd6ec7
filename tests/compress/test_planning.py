"""From the allocator's choice to the fate of each site, and a saved plan against a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx.compress.allocators import Candidate
from squeeze_onnx.compress.config import AboveBreakEven, AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.limits import with_limits
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.planning import make_plan, planned_site, planned_sites_of
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.compress.spectra import SiteSpectra, measure_spectra
from squeeze_onnx.graph.match.sites import MatMulSite, SkippedSite, find_sites
from squeeze_onnx.spectral.weightings import Identity, Standardization, Weighting
from squeeze_onnx.support.errors import OptionError
from tests.tiny_models import matmul_model

ROWS, COLUMNS, BREAK_EVEN = 12, 20, 7


@dataclass(frozen=True)
class FixedRanks:
    """Give every site the same rank."""

    rank: int

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, RankChoice]:
        return {candidate.name: RankChoice(self.rank, 0.0, "fixed", "as asked") for candidate in candidates}


def weight() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)


def spectra_of(model: onnx.ModelProto, weighting: Weighting | None = None) -> tuple[SiteSpectra, ...]:
    sites = find_sites(ir.from_proto(model)).sites
    return measure_spectra(sites, lambda _: weighting or Identity(), AnalyzeConfig(simulations=1))


@pytest.fixture(scope="module")
def spectra() -> tuple[SiteSpectra, ...]:
    return spectra_of(matmul_model(numpy_helper.from_array(weight(), "W")))


def fate(
    spectra: Sequence[SiteSpectra], rank: int, above_break_even: AboveBreakEven = "leave", **budget: Any
) -> PlannedSite:
    skipped = (SkippedSite("other", "because"),)
    plan = make_plan(
        spectra,
        FixedRanks(rank),
        method="svd",
        budget=budget,
        above_break_even=above_break_even,
        skipped=skipped,
    )
    assert (plan.method, plan.budget, plan.skipped) == ("svd", budget, ({"name": "other", "reason": "because"},))
    [planned] = plan.sites
    return planned


@pytest.mark.parametrize("rank", [1, BREAK_EVEN])
def test_up_to_break_even_a_site_is_factored(spectra: Sequence[SiteSpectra], rank: int) -> None:
    planned = fate(spectra, rank)
    assert (planned.rank, planned.treatment, planned.reason) == (rank, "factored", "as asked")
    assert (planned.name, planned.shape, planned.break_even_rank) == ("linear", (ROWS, COLUMNS), BREAK_EVEN)


def test_rank_0_becomes_a_factorization_of_rank_1(spectra: Sequence[SiteSpectra]) -> None:
    assert fate(spectra, 0).rank == 1


def test_above_break_even_a_site_is_left_or_denoised(spectra: Sequence[SiteSpectra]) -> None:
    left, denoised = (fate(spectra, BREAK_EVEN + 1, choice) for choice in ("leave", "denoise"))
    assert (left.rank, left.treatment) == (None, "dense")
    assert left.reason == "as asked: rank 8 is above break-even (7)"
    assert (denoised.rank, denoised.treatment) == (BREAK_EVEN + 1, "denoised")
    assert denoised.reason == "as asked: rank 8 written back as one dense matrix"


@pytest.mark.parametrize("above_break_even", ["leave", "denoise"])
def test_of_full_rank_nothing_is_dropped(spectra: Sequence[SiteSpectra], above_break_even: AboveBreakEven) -> None:
    planned = fate(spectra, ROWS, above_break_even)
    assert (planned.rank, planned.reason) == (None, "as asked: nothing to drop")


def test_the_mean_of_a_standardized_weight_takes_one_rank_more() -> None:
    spectra = spectra_of(matmul_model(numpy_helper.from_array(weight(), "W")), Standardization())
    assert fate(spectra, 0).rank == 1
    assert fate(spectra, BREAK_EVEN - 1).rank == BREAK_EVEN
    assert fate(spectra, BREAK_EVEN).rank is None


def test_a_weight_stored_in_few_bytes_is_left() -> None:
    quantized = numpy_helper.from_array(np.ones((ROWS, COLUMNS), np.int8), "Q")
    nodes = [
        helper.make_node("DequantizeLinear", ["Q", "scale"], ["W"]),
        helper.make_node("MatMul", ["x", "W"], ["y"], name="linear"),
    ]
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    spectra = spectra_of(matmul_model(quantized, scale, nodes=nodes))
    assert fate(spectra, 2).reason == "as asked: stored in 240 bytes, rank 2 would need 256"
    assert fate(spectra, 1).rank == 1
    with pytest.raises(
        OptionError, match=r"`keep` 0\.3 would leave 1\.00: 1 weights, linear first, are stored in fewer bits"
    ):
        fate(spectra, 2, keep=0.3)
    assert fate(with_limits(spectra, OptimizeConfig(precision="int8")), 2, keep=0.3).rank == 2


def test_a_budget_below_rank_1_everywhere_is_refused(spectra: Sequence[SiteSpectra]) -> None:
    least = (ROWS + COLUMNS) / (ROWS * COLUMNS)
    assert fate(spectra, 1, keep=least).rank == 1
    with pytest.raises(OptionError, match=r"`keep` 0\.1 is too little: rank 1 in every eligible weight takes 0\.1333"):
        fate(spectra, 1, keep=0.1)


class TestSavedPlan:
    @pytest.fixture
    def site(self, spectra: Sequence[SiteSpectra]) -> MatMulSite:
        return spectra[0].site

    @pytest.fixture
    def planned(self, site: MatMulSite) -> PlannedSite:
        return planned_site(site, 3, "saved")

    def test_finds_its_sites(self, site: MatMulSite, planned: PlannedSite) -> None:
        assert planned_sites_of(Plan("svd", {}, (planned,)), [site]) == (site,)

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"name": "query"}, "names the site query, which this model does not have"),
            ({"shape": (20, 12)}, "has 20 × 12 for site linear, this model has 12 × 20"),
        ],
        ids=["unknown name", "another shape"],
    )
    def test_of_another_architecture_is_refused(
        self, site: MatMulSite, planned: PlannedSite, changes: dict[str, Any], fault: str
    ) -> None:
        with pytest.raises(OptionError, match=fault):
            planned_sites_of(Plan("svd", {}, (replace(planned, **changes),)), [site])

    def test_that_names_a_site_twice_is_refused(self, site: MatMulSite, planned: PlannedSite) -> None:
        with pytest.raises(OptionError, match="names the site linear 2 times"):
            planned_sites_of(Plan("svd", {}, (planned, planned)), [site])

    def test_of_nothing_is_refused(self, site: MatMulSite) -> None:
        with pytest.raises(OptionError, match="names no site"):
            planned_sites_of(Plan("svd", {}, ()), [site])

    @pytest.mark.parametrize("kept", ["linear", "linear/left"])
    def test_keeps_weights_of_its_sites_in_a_higher_precision(
        self, site: MatMulSite, planned: PlannedSite, kept: str
    ) -> None:
        plan = Plan("svd", {}, (planned,), precision=PlannedPrecision("int8", (kept,)))
        assert planned_sites_of(plan, [site]) == (site,)

    def test_that_keeps_what_no_site_is_called_is_refused(self, site: MatMulSite, planned: PlannedSite) -> None:
        plan = Plan("svd", {}, (planned,), precision=PlannedPrecision("int8", ("liner",)))
        with pytest.raises(OptionError, match=r"keeps 'liner' in a higher precision, and .* did you mean linear"):
            planned_sites_of(plan, [site])
