"""Sublayers that a plan removes: the mean of what they added is exact, and a refit makes up for what they did."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Removed
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.compress.planning import planned_site, planned_sites_of
from squeeze_onnx.compress.squeezing import squeeze
from squeeze_onnx.compress.tokens.stage import refuse_unprunable
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import run
from tests.graph.rewrite.test_removal import MODELS
from tests.tiny_encoder import ELIGIBLE_SITES, HIDDEN, VOCABULARY

ATTENTION = tuple(f"layer.1/{role}" for role in ("query", "key", "value", "attention_output"))
FEED_FORWARD = ("layer.0/ffn_in", "layer.0/ffn_out")


def texts(count: int, seed: int) -> list[CalibrationBatch]:
    generator = np.random.default_rng(seed)
    mask = np.ones((4, 9), np.int64)
    mask[2:, 6:] = 0
    return [
        CalibrationBatch(
            {"input_ids": generator.integers(5, VOCABULARY, mask.shape) * mask, "attention_mask": mask}, mask
        )
        for _ in range(count)
    ]


CALIBRATION = texts(12, 0)


def plan_without(kind: str, gone: tuple[str, ...], *, refit: bool, method: str = "whiten") -> Plan:
    sites = [site for site in find_sites(ir.from_proto(MODELS[kind])).sites if site.name in ELIGIBLE_SITES]
    planned = [planned_site(site, None, "as it was") for site in sites]
    return Plan(
        method,
        {},
        tuple(replace(each, form=Removed()) if each.name in gone else each for each in planned),
        refit=refit,
    )


def squeezed(kind: str, gone: tuple[str, ...], *, refit: bool) -> ir.Model:
    model = OnnxModel(Path("tiny.onnx"), ir.from_proto(MODELS[kind]))
    config = OptimizeConfig(force_write=True)
    return squeeze(model, config, CALIBRATION, plan=plan_without(kind, gone, refit=refit)).model.ir


def mean_of(model: ir.Model, value: ir.Value) -> np.ndarray:
    """Return the mean of ``value`` over the tokens that are text, in the calibration data."""
    model.graph.outputs.append(value)
    rows = [run(model, batch.feeds)[1][np.asarray(batch.mask) > 0] for batch in CALIBRATION]
    mean: np.ndarray = np.concatenate(rows).mean(axis=0)
    return mean


@pytest.mark.parametrize("kind", MODELS)
def test_the_mean_of_what_went_is_exact_in_the_stream(kind: str) -> None:
    dense = ir.from_proto(MODELS[kind])
    site = next(site for site in find_sites(dense).sites if site.name == "layer.0/ffn_out")
    product = site.nodes[0].outputs[0]
    bias = next(node for node, _ in product.uses()).outputs[0]
    mean = mean_of(dense, bias)
    small = squeezed(kind, FEED_FORWARD, refit=False)
    reference = ir.from_proto(MODELS[kind])
    for value, entries in ((site.nodes[0].inputs[1], 0.0), (bias.producer().inputs[1], mean)):  # type: ignore[union-attr]
        stored = reference.graph.initializers[str(value.name)]  # type: ignore[union-attr]
        assert stored.const_value is not None
        array = np.zeros_like(stored.const_value.numpy()) + np.asarray(entries, np.float32)
        stored.const_value = ir.tensor(array, name=stored.name)
    feeds = CALIBRATION[0].feeds
    np.testing.assert_allclose(run(small, feeds)[0], run(reference, feeds)[0], atol=1e-4)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("gone", [ATTENTION, FEED_FORWARD, ATTENTION + FEED_FORWARD], ids=["attention", "ffn", "both"])
def test_a_refit_comes_closer_on_text_that_it_did_not_see(kind: str, gone: tuple[str, ...]) -> None:
    def distance(model: ir.Model) -> float:
        expected, found = (
            np.concatenate([run(each, batch.feeds)[0][np.asarray(batch.mask) > 0] for batch in texts(4, 1)])
            for each in (ir.from_proto(MODELS[kind]), model)
        )
        return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())

    truncated, refitted = (squeezed(kind, gone, refit=refit) for refit in (False, True))
    assert {site.name for site in find_sites(refitted).sites}.isdisjoint(gone)
    assert distance(refitted) < 0.9 * distance(truncated)


def test_a_plan_is_read_again_with_what_it_removes(tmp_path: Path) -> None:
    plan = plan_without("post-norm", ATTENTION, refit=True)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json()), encoding="utf-8")
    assert read_plan(path) == plan
    assert plan.kept_parameters == plan.eligible_parameters - 4 * HIDDEN**2


def test_tokens_do_not_go_where_layers_may() -> None:
    model = OnnxModel(Path("tiny.onnx"), ir.from_proto(MODELS["post-norm"]))
    asked = OptimizeConfig(method="whiten", prune_tokens=0.5, remove_sublayers=True)
    with pytest.raises(OptionError, match="`prune_tokens` counts layers by their attentions"):
        refuse_unprunable(Context(model, asked, CALIBRATION))
    planned = Context(
        model, OptimizeConfig(prune_tokens=0.5), CALIBRATION, plan_without("post-norm", ATTENTION, refit=True)
    )
    with pytest.raises(OptionError, match="plans with removed weights"):
        refuse_unprunable(planned)


@pytest.mark.parametrize(
    ("gone", "method", "message"),
    [
        (ATTENTION[:3], "whiten", "layer.1/key, which is not part of an attention or a feed-forward block that can go"),
        (ATTENTION, "svd", "`method` svd does not know what it does on average"),
    ],
)
def test_a_plan_removes_whole_sublayers_whose_means_are_known(gone: tuple[str, ...], method: str, message: str) -> None:
    sites = find_sites(ir.from_proto(MODELS["post-norm"])).sites
    with pytest.raises(OptionError, match=message):
        planned_sites_of(plan_without("post-norm", gone, refit=True, method=method), sites)
