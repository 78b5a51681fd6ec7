"""One left factor for query, key and value: measured, planned, carried out, and refused where it cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Dense, Factored, Form, SharedLeft
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.compress.truncation import truncate_jointly
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.fused.fusion import count_fused, fuse
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import run
from tests.tiny_encoder import HIDDEN, LAYERS, VOCABULARY, encoder_model, weights_of, with_weights

CONFIG = OptimizeConfig(method="whiten", keep=0.4, refit=False, simulations=1)
ROLES = ("query", "key", "value")
FIRST = tuple(f"layer.0/{role}" for role in ROLES)


def batch(seed: int) -> CalibrationBatch:
    generator = np.random.default_rng(seed)
    mask = (np.arange(9) < generator.integers(3, 10, (8, 1))).astype(np.int64)
    return CalibrationBatch(
        {"input_ids": generator.integers(5, VOCABULARY, mask.shape) * mask, "attention_mask": mask}, mask
    )


CALIBRATION = [batch(seed) for seed in range(12)]
HELD_OUT = batch(99)


def planted(*, common: bool) -> onnx.ModelProto:
    """Return the encoder with query, key and value of rank 6, which see ``common`` directions or others each."""
    generator = np.random.default_rng(7)
    weights = {}
    for layer in range(LAYERS):
        left = generator.standard_normal((HIDDEN, 6))
        for role in ROLES:
            left = left if common else generator.standard_normal((HIDDEN, 6))
            entries = left @ generator.standard_normal((6, HIDDEN)) + 0.02 * generator.standard_normal((HIDDEN, HIDDEN))
            weights[f"layer.{layer}/{role}.weight"] = (entries / np.sqrt(6 * HIDDEN)).astype(np.float32)
    return with_weights(encoder_model(), weights)


def model(proto: onnx.ModelProto | None = None) -> OnnxModel:
    return OnnxModel(Path("model.onnx"), ir.from_proto(proto or encoder_model()))


@pytest.fixture(scope="module")
def survey() -> Survey:
    return take_survey(Context(model(), CONFIG, CALIBRATION))


def plan_with(survey: Survey, rank: int, *, roles: tuple[str, ...] = ROLES, refit: bool = False) -> Plan:
    """Return a plan in which ``roles`` of every layer share left factors of this rank, and all else stays."""

    def planned(site: PlannedSite) -> PlannedSite:
        shares = site.role in roles
        return replace(site, form=SharedLeft(rank, f"layer.{site.layer}/{roles[0]}") if shares else Dense())

    plan = plan_for(Context(model(), CONFIG), survey)
    return replace(plan, sites=tuple(map(planned, plan.sites)), refit=refit)


def edited(plan: Plan, name: str, form: Form) -> Plan:
    return replace(plan, sites=tuple(replace(s, form=form) if s.name == name else s for s in plan.sites))


def distance(found: ir.Model) -> float:
    """Return the relative squared distance of the outputs to the dense encoder's on a batch of its own."""
    assert HELD_OUT.mask is not None
    text = HELD_OUT.mask > 0
    (expected,), (outputs,) = (run(each, HELD_OUT.feeds) for each in (model().ir, found))
    return float(np.square(expected[text] - outputs[text]).sum() / np.square(expected[text]).sum())


class TestMeasured:
    def test_of_every_two_or_three_that_read_the_same(self, survey: Survey) -> None:
        assert [sharing.sites for sharing in survey.sharings][:4] == [
            FIRST[:2],
            (FIRST[0], FIRST[2]),
            FIRST[1:],
            FIRST,
        ]

    @pytest.mark.parametrize("rank", [1, 7, 23])
    def test_output_error_is_what_truncation_does_to_the_outputs_by_their_sensitivities(
        self, survey: Survey, rank: int
    ) -> None:
        *_, sharing = survey.sharings
        sites = [site for site in survey.sites if site.name in sharing.sites]
        candidates = {each.site.name: each.candidate for each in survey.spectra}
        sensitivities = [candidates[site.name].sensitivity for site in sites]
        weights = [read_weight(site) for site in sites]
        _, errors = truncate_jointly(weights, rank, survey.weighting_of(sites[0]), sensitivities, Exact())
        output_error = sum(each.weighted_error**2 * by for each, by in zip(errors, sensitivities, strict=True))
        assert sharing.sizes[0] == 23  # 24 would be as many parameters as the dense weights
        np.testing.assert_allclose(sharing.output_error[list(sharing.sizes).index(rank)], output_error, rtol=1e-6)


class TestPlanned:
    @pytest.mark.parametrize("common", [True, False], ids=["the same directions", "directions of their own"])
    def test_where_query_key_and_value_see_the_same_directions(self, common: bool) -> None:
        survey = take_survey(Context(model(planted(common=common)), CONFIG, CALIBRATION))
        plan = plan_for(Context(model(), CONFIG), survey)
        shared = [site for site in plan.sites if isinstance(site.form, SharedLeft)]
        assert {site.role for site in shared} == (set(ROLES) if common else set())
        assert all(site.group == f"layer.{site.layer}/query" and site.sensitivity > 0 for site in shared)
        for layer in range(LAYERS):
            assert len({site.rank for site in shared if site.layer == layer}) == common
        assert plan.kept_parameters <= 0.4 * plan.eligible_parameters
        off = plan_for(Context(model(), replace(CONFIG, joint_qkv=False)), survey)
        assert not [site for site in off.sites if isinstance(site.form, SharedLeft)]


class TestCarriedOut:
    def test_at_the_largest_rank_little_changes_and_at_lower_ones_more(self, survey: Survey) -> None:
        found = [
            distance(carry_out(Context(model()), plan_with(survey, rank), survey).model.ir) for rank in (23, 12, 4)
        ]
        assert 0 < found[0] < 0.3 * found[1] < 0.3 * found[2]

    def test_there_is_one_left_factor_a_layer_and_one_product_with_it(self, survey: Survey) -> None:
        plan = plan_with(survey, 5)
        result = carry_out(Context(model()), plan, survey)
        left = [
            name for name in result.model.ir.graph.initializers if name.startswith("layer") and name.endswith("/left")
        ]
        assert left == ["layer.0/query/left", "layer.1/query/left"]
        for name in left:
            assert len(result.model.ir.graph.initializers[name].uses()) == 1
        parameters = [
            sum(array.size for array in weights_of(ir.to_proto(each.ir)).values()) for each in (model(), result.model)
        ]
        assert parameters[0] - parameters[1] == plan.eligible_parameters - plan.kept_parameters
        assert {name for name, lost in result.errors.items() if 0 < lost.relative_error < 1} == {
            f"layer.{layer}/{role}" for layer in range(LAYERS) for role in ROLES
        }

    def test_a_refit_comes_closer(self, survey: Survey) -> None:
        plain, refitted = (
            distance(
                carry_out(Context(model(), batches=CALIBRATION), plan_with(survey, 8, refit=refit), survey).model.ir
            )
            for refit in (False, True)
        )
        assert refitted < 0.9 * plain

    def test_a_refit_leaves_them_one_left_factor_of_the_rank_planned(self, survey: Survey) -> None:
        result = carry_out(Context(model(), batches=CALIBRATION), plan_with(survey, 8, refit=True), survey)
        arrays = weights_of(ir.to_proto(result.model.ir))
        assert arrays["layer.1/query/left"].shape == (HIDDEN, 8)
        assert {arrays[f"layer.1/{role}/right"].shape for role in ROLES} == {(8, HIDDEN)}
        assert not {"layer.1/key/left", "layer.1/value/left"} & arrays.keys()
        assert all(0 < result.errors[f"layer.1/{role}"].weighted_error < 0.7 for role in ROLES)

    def test_two_of_three_share_beside_one_that_does_not(self, survey: Survey) -> None:
        plan = edited(plan_with(survey, 6, roles=ROLES[:2]), "layer.0/value", Factored(3))
        arrays = weights_of(ir.to_proto(carry_out(Context(model(), batches=CALIBRATION), plan, survey).model.ir))
        assert arrays["layer.0/query/left"].shape == (HIDDEN, 6)
        assert arrays["layer.0/value/left"].shape == (HIDDEN, 3)
        assert "layer.1/value.weight" in arrays

    def test_the_attention_is_fused_as_that_of_the_dense_model(self, survey: Survey) -> None:
        result = carry_out(Context(model()), plan_with(survey, 6), survey)
        expected = run(result.model.ir, HELD_OUT.feeds)[0]
        fuse(result.model.ir, "cpu")
        assert count_fused(result.model.ir)["Attention"] == LAYERS
        nodes = [node for node in result.model.ir.graph if node.op_type == "Attention"]
        assert [list(node.inputs[1].shape or ()) for node in nodes if node.inputs[1]] == [[6, 3 * HIDDEN]] * LAYERS
        np.testing.assert_allclose(run(result.model.ir, HELD_OUT.feeds)[0], expected, rtol=0, atol=1e-5)

    def test_what_was_squeezed_can_be_squeezed_again(self, survey: Survey) -> None:
        once = carry_out(Context(model()), plan_with(survey, 6), survey).model
        assert [site.name for site in find_sites(once.ir).sites if site.role in ROLES][:3] == list(FIRST)


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        (
            "layer.0/key",
            SharedLeft(5, "layer.0/query"),
            "gives site layer.0/key rank 5 and layer.0/query rank 6, but they share",
        ),
        ("layer.0/key", SharedLeft(6, "layer.1/query"), "share its left factor with .*do not read the same value"),
        ("layer.0/key", SharedLeft(6, "layer.0/ffn_in"), "layer.0/key the .* layer.0/ffn_in, so that site needs the"),
        ("layer.0/key", SharedLeft(6, "nowhere"), "gives site layer.0/key the .* nowhere, but no other site"),
        ("layer.0/query", Factored(6), "site layer.0/key the .* layer.0/query, so that site needs the same"),
    ],
    ids=["another rank", "another layer", "a site that shares nothing", "no site at all", "half of it taken back"],
)
def test_a_plan_that_shares_what_cannot_be_shared_is_refused(
    survey: Survey, name: str, form: Form, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        carry_out(Context(model()), edited(plan_with(survey, 6), name, form), survey)


def test_a_shared_left_factor_that_does_not_pay_is_refused(survey: Survey) -> None:
    with pytest.raises(OptionError, match=r"layer.0/query rank 24 .* that 3 sites share; above rank 23"):
        carry_out(Context(model()), plan_with(survey, 24), survey)
