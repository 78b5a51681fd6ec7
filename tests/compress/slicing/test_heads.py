"""The heads of a tiny encoder: measured, planned, made thinner."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.allocators import ParameterCount, Slicing
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Dense, Sliced
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.slicing.heads import Scores, possible_widths
from squeeze_onnx.compress.squeezing import carry_out, plan_for
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.normal_heads import normalize_heads
from squeeze_onnx.graph.rewrite.rewriter import replace_weight
from squeeze_onnx.support.errors import OptionError
from tests.architectures import exported_models, padded_batch
from tests.graph.execution import run
from tests.tiny_encoder import HEADS, HIDDEN, VOCABULARY, encoder_model

CONFIG = OptimizeConfig(method="whiten", keep=0.6, simulations=1)
QUERY_KEY = ("layer.0/query", "layer.0/key")
VALUE_OUTPUT = ("layer.0/value", "layer.0/attention_output")


def batch(seed: int) -> CalibrationBatch:
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, VOCABULARY, (8, 9))
    mask = (np.arange(9) < generator.integers(3, 10, (8, 1))).astype(np.int64)
    return CalibrationBatch({"input_ids": ids * mask, "attention_mask": mask}, mask)


CALIBRATION = [batch(seed) for seed in range(12)]


def model() -> OnnxModel:
    return OnnxModel(Path("model.onnx"), ir.from_proto(encoder_model()))


@pytest.fixture(scope="module")
def survey() -> Survey:
    return take_survey(Context(model(), CONFIG, CALIBRATION))


def slicing_of(survey: Survey, sites: tuple[str, ...]) -> Slicing:
    [found] = [slicing for slicing in slicings_of(survey.spectra, survey.blocks) if slicing.sites == sites]
    return found


def plan_with(survey: Survey, shapes: dict[str, tuple[int, int]], *, refit: bool = False) -> Plan:
    """Return the plan that gives some sites of the first layer these shapes and leaves all else as it is."""
    plan = plan_for(Context(model(), CONFIG), survey)
    sites = tuple(
        replace(site, form=Sliced(shapes[site.name]) if site.name in shapes else Dense()) for site in plan.sites
    )
    return replace(plan, sites=sites, refit=refit)


def thin_plan(survey: Survey, *, scores: int = 8, contexts: int = 8, refit: bool = False) -> Plan:
    """Return the plan of heads of these widths."""
    shapes: dict[str, tuple[int, int]] = {}
    if scores < HIDDEN // HEADS:
        shapes |= dict.fromkeys(QUERY_KEY, (HIDDEN, HEADS * scores))
    if contexts < HIDDEN // HEADS:
        value, output = VALUE_OUTPUT
        shapes |= {value: (HIDDEN, HEADS * contexts), output: (HEADS * contexts, HIDDEN)}
    return plan_with(survey, shapes, refit=refit)


def distance(squeezed: ir.Model) -> float:
    """Return the relative squared distance of the outputs to the dense encoder's on data not seen before."""
    unseen = batch(99)
    (expected,), (found,) = (run(each, unseen.feeds) for each in (ir.from_proto(encoder_model()), squeezed))
    assert unseen.mask is not None
    text = unseen.mask.astype(bool)
    return float(np.square(expected - found)[text].sum() / np.square(expected)[text].sum())


@pytest.mark.parametrize(("width", "widths"), [(64, [64, 56, 48, 40, 32, 24, 16, 8]), (24, [24, 20, 16, 12, 8, 4])])
def test_widths_are_what_kernels_like(width: int, widths: list[int]) -> None:
    assert possible_widths(width).tolist() == widths


def test_both_pairs_of_a_layer_are_measured_next_to_the_spectra(survey: Survey) -> None:
    scores, contexts = (slicing_of(survey, sites) for sites in (QUERY_KEY, VALUE_OUTPUT))
    for slicing in (scores, contexts):
        assert slicing.sizes.tolist() == [HIDDEN, HIDDEN // 2]
        assert slicing.costs(ParameterCount()).tolist() == [2 * HIDDEN**2, HIDDEN**2]
        assert slicing.output_error[0] == 0 < slicing.output_error[1]


def test_half_the_scores_do_what_was_probed(survey: Survey) -> None:
    """What is added to the key alone does to the outputs what thinner query and key do."""
    block = survey.blocks["layer.0/key"]
    assert isinstance(block, Scores)
    perturbed = ir.from_proto(encoder_model())
    [key] = [site for site in find_sites(perturbed).sites if site.name == "layer.0/key"]
    replace_weight(perturbed, key, key.weight.numpy() + block.halved)
    thin = carry_out(Context(model()), thin_plan(survey, scores=4), survey).model.ir
    (expected,), (found,) = (run(each, CALIBRATION[0].feeds) for each in (perturbed, thin))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_thinner_the_more_is_lost(survey: Survey) -> None:
    for plans in (
        [thin_plan(survey, scores=width) for width in (7, 5, 2)],
        [thin_plan(survey, contexts=width) for width in (7, 5, 2)],
    ):
        lost = [distance(carry_out(Context(model()), plan, survey).model.ir) for plan in plans]
        assert 0 < lost[0] < lost[1] < lost[2] < 1


@pytest.mark.parametrize("refit", [True, False])
def test_columns_go_from_both_weights(survey: Survey, refit: bool) -> None:
    plan = thin_plan(survey, scores=4, contexts=6, refit=refit)
    result = carry_out(Context(model(), batches=CALIBRATION), plan, survey)
    shapes = sorted(
        tuple(value.shape.numpy())
        for value in result.model.ir.graph.initializers.values()
        if value.shape is not None and len(value.shape) == 2
    )
    assert shapes.count((HIDDEN, HEADS * 4)) == 2
    assert shapes.count((HIDDEN, HEADS * 6)) == shapes.count((HEADS * 6, HIDDEN)) == 1
    assert result.errors.keys() == {*QUERY_KEY, *VALUE_OUTPUT}
    assert all(0 < errors.weighted_error < 1 for errors in result.errors.values())
    assert result.plan.kept_parameters == result.plan.eligible_parameters - HIDDEN**2 - 2 * HIDDEN * HEADS * 2
    assert 0 < distance(result.model.ir) < 0.5


def test_a_refit_mends_what_thinner_heads_did(survey: Survey) -> None:
    plain, refitted = (
        distance(
            carry_out(
                Context(model(), batches=CALIBRATION), thin_plan(survey, scores=4, contexts=4, refit=refit), survey
            ).model.ir
        )
        for refit in (False, True)
    )
    assert refitted < plain


def test_columns_that_are_no_multiple_of_the_heads_are_refused(survey: Survey) -> None:
    plan = plan_with(survey, dict.fromkeys(QUERY_KEY, (HIDDEN, 30)))
    with pytest.raises(OptionError, match=r"site layer.0/query .* 30 is no multiple of its 4 heads"):
        carry_out(Context(model()), plan, survey)


def test_what_is_in_no_block_is_refused(survey: Survey) -> None:
    showing = model()
    plan = plan_with(survey, dict.fromkeys(QUERY_KEY, (HIDDEN, 16)))
    # The same encoder whose first query is read elsewhere too.
    query = next(node for node in showing.ir.graph if node.name == "layer.0/query")
    showing.ir.graph.outputs.append(query.outputs[0])
    with pytest.raises(OptionError, match=r"site layer\.0/query, which is in no feed-forward block and no attention"):
        carry_out(Context(showing), plan, survey)


@pytest.mark.parametrize(
    ("export", "count"),
    [
        ("bert/optimum", 8),
        ("bert/dynamo", 8),
        ("mpnet/optimum", 8),
        ("albert/optimum", 4),
        ("llama/optimum", 8),
        ("modernbert/optimum", 8),
    ],
)
def test_real_exports_are_refitted_with_thinner_heads(model_cache: Path, export: str, count: int) -> None:
    """dynamo makes one shape for heads of all layers, albert one weight for them, llama two value heads for four of others."""
    path = exported_models(model_cache) / f"{export}.onnx"
    feeds = padded_batch(path)
    calibration = [CalibrationBatch(feeds, feeds["attention_mask"])]
    dense = load_model(path)
    normalize_heads(dense.ir)
    config = replace(CONFIG, slice_neurons=False)
    survey = take_survey(Context(dense, config, calibration))
    plan = plan_for(Context(dense, config), survey)
    half = [(slicing, int(slicing.sizes[-1])) for slicing in slicings_of(survey.spectra, survey.blocks)]
    thin = {name: choice.shape for slicing, size in half for name, choice in slicing.choices(size, "half").items()}
    sites = tuple(replace(site, form=Sliced(thin[site.name]) if site.name in thin else Dense()) for site in plan.sites)
    result = carry_out(Context(dense, batches=calibration), replace(plan, sites=sites, refit=True), survey)
    assert result.errors.keys() == thin.keys()
    assert len(thin) == count
    expected, found = (run(each, feeds)[0] for each in (load_model(path).ir, result.model.ir))
    assert 0 < np.square(found - expected).sum() < 0.5 * np.square(expected).sum()
