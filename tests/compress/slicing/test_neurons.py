"""The neurons of a tiny encoder: measured, planned, taken out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.allocators import ParameterCount
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Dense, Sliced
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.slicing import slicings_of
from squeeze_onnx.compress.squeezing import carry_out, plan_for, squeeze
from squeeze_onnx.compress.survey import Survey, take_survey
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import run
from tests.tiny_encoder import HIDDEN, INTERMEDIATE, VOCABULARY, encoder_model

CONFIG = OptimizeConfig(method="whiten", keep=0.6, simulations=1)
BLOCK = ("layer.0/ffn_in", "layer.0/ffn_out")


def batch(seed: int) -> CalibrationBatch:
    ids = np.random.default_rng(seed).integers(5, VOCABULARY, (8, 9))
    return CalibrationBatch({"input_ids": ids, "attention_mask": np.ones_like(ids)}, np.ones_like(ids))


CALIBRATION = [batch(seed) for seed in range(12)]


def model() -> OnnxModel:
    return OnnxModel(Path("model.onnx"), ir.from_proto(encoder_model()))


@pytest.fixture(scope="module")
def survey() -> Survey:
    return take_survey(Context(model(), CONFIG, CALIBRATION))


def plan_with(survey: Survey, neurons: int, *, refit: bool) -> Plan:
    """Return the plan that takes neurons out of the first block and leaves all else as it is."""
    shapes = {"layer.0/ffn_in": (HIDDEN, neurons), "layer.0/ffn_out": (neurons, HIDDEN)}
    plan = plan_for(Context(model(), CONFIG), survey)
    sites = tuple(
        replace(site, form=Sliced(shapes[site.name]) if site.name in shapes else Dense()) for site in plan.sites
    )
    return replace(plan, sites=sites, refit=refit)


def distance(squeezed: ir.Model) -> float:
    """Return the relative squared distance of the outputs to the dense encoder's on data not seen before."""
    feeds = batch(99).feeds
    (expected,), (found,) = (run(each, feeds) for each in (ir.from_proto(encoder_model()), squeezed))
    return float(np.square(expected - found).sum() / np.square(expected).sum())


def test_blocks_are_measured_next_to_the_spectra(survey: Survey) -> None:
    first, second = (slicing for slicing in slicings_of(survey.spectra, survey.blocks) if "ffn" in slicing.sites[0])
    assert first.sites == BLOCK
    assert second.sites == ("layer.1/ffn_in", "layer.1/ffn_out")
    assert first.sizes[0] == INTERMEDIATE
    assert first.costs(ParameterCount())[0] == 2 * HIDDEN * INTERMEDIATE
    assert first.output_error[0] == 0
    assert (np.diff(first.output_error) >= 0).all()


@pytest.mark.parametrize("refit", [True, False])
def test_neurons_go_from_both_weights_and_the_bias(survey: Survey, refit: bool) -> None:
    result = carry_out(Context(model(), batches=CALIBRATION), plan_with(survey, 44, refit=refit), survey)
    constants = result.model.ir.graph.initializers.values()
    sizes = [dim for value in constants if value.shape is not None for dim in value.shape.numpy()]
    assert sizes.count(44) == 3
    assert sizes.count(INTERMEDIATE) == 3  # the other block
    assert result.errors.keys() == set(BLOCK)
    assert 0 < result.errors["layer.0/ffn_out"].weighted_error < 1
    assert result.plan.kept_parameters == result.plan.eligible_parameters - 20 * 2 * HIDDEN


def test_the_fewer_go_the_less_is_lost(survey: Survey) -> None:
    few, many = (
        distance(carry_out(Context(model()), plan_with(survey, size, refit=False), survey).model.ir)
        for size in (60, 20)
    )
    assert 0 < few < many / 2


def test_a_refit_mends_what_the_neurons_did(survey: Survey) -> None:
    plain, refitted = (
        distance(carry_out(Context(model(), batches=CALIBRATION), plan_with(survey, 20, refit=refit), survey).model.ir)
        for refit in (False, True)
    )
    assert refitted < plain


def test_without_slicing_only_ranks_change() -> None:
    result = squeeze(model(), replace(CONFIG, slice_neurons=False, thin_heads=False), CALIBRATION)
    assert {site.treatment for site in result.plan.sites} <= {"factored", "dense"}


@pytest.mark.parametrize(
    ("name", "kept", "message"),
    [
        ("layer.0/ffn_in", (HIDDEN, 30), r'site layer.0/ffn_out the "kept_shape" \[40, 32\]; .* has to be \[30, 32\]'),
        ("layer.0/query", (30, HIDDEN), r'site layer.0/query the "kept_shape" \[30, 32\]; .* has to be \[32, 32\]'),
        ("layer.0/query", (HIDDEN, 30), r'site layer.0/key the "kept_shape" \[32, 32\]; .* has to be \[32, 30\]'),
    ],
    ids=["two sizes in a block", "the wrong side", "one of two"],
)
def test_a_plan_that_does_not_fit_the_blocks_is_refused(
    survey: Survey, name: str, kept: tuple[int, int], message: str
) -> None:
    plan = plan_with(survey, 40, refit=False)
    sites = tuple(replace(site, form=Sliced(kept)) if site.name == name else site for site in plan.sites)
    with pytest.raises(OptionError, match=message):
        carry_out(Context(model()), replace(plan, sites=sites), survey)
