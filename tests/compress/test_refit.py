"""The refit stage on a tiny encoder: what changes, what does not, and that it is worth it."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.eligibility import choose_eligible
from squeeze_onnx.compress.factoring import Truncating, rewrite_sites
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.planning import planned_site
from squeeze_onnx.compress.refit import Refitting, refit_sites
from squeeze_onnx.compress.refit_moments import StageSums
from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.support.errors import ModelError
from tests.graph.execution import run
from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.tiny_encoder import HIDDEN, VOCABULARY, encoder_model

TOKENS = 9


def batches(count: int, seed: int = 0) -> list[CalibrationBatch]:
    """Sequences of random tokens, the last third padding in half of them."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        mask = np.ones((4, TOKENS), np.int64)
        mask[2:, 6:] = 0
        ids = generator.integers(5, VOCABULARY, mask.shape) * mask
        made.append(CalibrationBatch({"input_ids": ids, "attention_mask": mask}, mask))
    return made


CALIBRATION = batches(30)
HELD_OUT = batches(6, seed=1)


def squeezed(
    ranks: dict[str, int | None], *, refit: bool, model: ir.Model | None = None, roles: tuple[str, ...] = ()
) -> ir.Model:
    """Return the encoder (default) with the sites of ``ranks`` at these ranks, the other eligible ones not in the plan."""
    model = model or ir.from_proto(encoder_model())
    sites = [site for site in choose_eligible(find_sites(model).sites, roles, ()).sites if site.name in ranks]
    plan = [planned_site(site, ranks[site.name], "") for site in sites]
    weighting_of = METHODS["whiten"].weighting_of(collect_moments(model, sites, CALIBRATION))
    if refit:
        refit_sites(model, sites, plan, Truncating(weighting_of, Exact()), Refitting(model.clone(), CALIBRATION))
    else:
        rewrite_sites(model, sites, plan, Truncating(weighting_of, Exact()))
    return model


def distance(model: ir.Model) -> float:
    """Return the relative squared distance of the outputs to the dense encoder's on held-out tokens."""
    lost = total = 0.0
    dense = ir.from_proto(encoder_model())
    for batch in HELD_OUT:
        assert batch.mask is not None
        text = batch.mask > 0
        (expected,), (found,) = (run(each, batch.feeds) for each in (dense, model))
        lost += float(np.square(expected[text] - found[text]).sum())
        total += float(np.square(expected[text]).sum())
    return lost / total


ALL = {site.name: site for site in choose_eligible(find_sites(ir.from_proto(encoder_model())).sites, (), ()).sites}


def test_at_full_rank_the_outputs_stay() -> None:
    full: dict[str, int | None] = {name: min(site.in_features, site.out_features) for name, site in ALL.items()}
    assert distance(squeezed(full, refit=True)) < 1e-9


def test_refitted_weights_come_closer_to_the_dense_model_on_data_they_did_not_see() -> None:
    low: dict[str, int | None] = {name: site.break_even_rank // 2 for name, site in ALL.items()}
    assert distance(squeezed(low, refit=True)) < 0.8 * distance(squeezed(low, refit=False))


def test_dense_weights_of_the_plan_mend_what_others_lost() -> None:
    first: dict[str, int | None] = {name: 4 for name in ALL if name.startswith("layer.0")}
    mended: dict[str, int | None] = first | {name: None for name in ALL if name.startswith("layer.1")}
    assert distance(squeezed(mended, refit=True)) < 0.8 * distance(squeezed(first, refit=True))


def test_the_rank_of_each_site_is_that_of_the_plan() -> None:
    model = squeezed({"layer.0/query": 3, "layer.0/ffn_in": None, "layer.1/ffn_out": 25}, refit=True)
    arrays = {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}
    assert arrays["layer.0/query/left"].shape == (HIDDEN, 3)
    assert np.linalg.matrix_rank(arrays["layer.1/ffn_out/weight"], tol=1e-4) == 25
    assert arrays["layer.0/ffn_in/weight"].shape == ALL["layer.0/ffn_in"].weight.shape


def test_what_is_not_in_the_plan_stays_as_it_is() -> None:
    dense, model = ir.from_proto(encoder_model()), squeezed({"layer.0/query": 3}, refit=True)
    others = [site for name, site in ALL.items() if name != "layer.0/query"]
    for site in others:
        kept, old = (each.graph.initializers[site.weight.name].const_value for each in (model, dense))
        assert kept is not None and old is not None
        np.testing.assert_array_equal(kept.numpy(), old.numpy())


def test_an_embedding_of_low_rank_is_truncated_and_what_follows_is_fitted_to_it() -> None:
    ranks: dict[str, int | None] = {"embedding": 8, **dict.fromkeys(ALL)}
    include = ("embedding",)
    refitted, plain = (squeezed(ranks, refit=refit, roles=include) for refit in (True, False))
    assert refitted.graph.initializers["embedding/left"].shape == (VOCABULARY, 8)
    assert distance(refitted) < 0.9 * distance(plain)


def test_a_weight_used_twice_is_truncated_as_without_a_refit() -> None:
    model = tiny_model(
        "g (float[B,8] x) => (float[B,8] z) { y = MatMul(x, W) a = Relu(y) z = MatMul(a, W) }", W=random_weight(8, 8)
    )
    data = [CalibrationBatch({"x": random_weight(20, 8, seed=seed)}, None) for seed in range(3)]
    (site,) = find_sites(model).sites
    weighting_of = METHODS["whiten"].weighting_of(collect_moments(model, [site], data))
    other = model.clone()
    plan = [planned_site(site, 2, "")]
    refit_sites(model, [site], plan, Truncating(weighting_of, Exact()), Refitting(model.clone(), data))
    (site,) = find_sites(other).sites
    rewrite_sites(other, [site], [planned_site(site, 2, "")], Truncating(weighting_of, Exact()))
    feeds = {"x": random_weight(5, 8, seed=9)}
    np.testing.assert_array_equal(run(model, feeds)[0], run(other, feeds)[0])


def test_activations_that_are_not_finite_are_named_by_the_site_that_reads_them() -> None:
    model = tiny_model("g (float[B,8] x) => (float[B,8] z) { z = MatMul(x, W) }", W=random_weight(8, 8))
    (site,) = find_sites(model).sites
    plan = [planned_site(site, 2, "")]
    data = [CalibrationBatch({"x": np.full((4, 8), np.inf, np.float32)}, None)]
    with pytest.raises(ModelError, match="NaN or infinite"), np.errstate(invalid="ignore"):
        refit_sites(
            model, [site], plan, Truncating(METHODS["svd"].weighting_of({}), Exact()), Refitting(model.clone(), data)
        )


@pytest.mark.parametrize("ranks", [dict.fromkeys(ALL), dict.fromkeys(ALL, 6)], ids=["dense", "low rank"])
def test_summing_what_is_to_be_returned_is_summing_what_is_read_and_the_drift(
    ranks: dict[str, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for narrow in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(StageSums, "_narrow", narrow)
            made.append(squeezed({**ranks, "layer.0/query": 3}, refit=True))
    for name, value in made[0].graph.initializers.items():
        other = made[1].graph.initializers[name].const_value
        assert value.const_value is not None and other is not None
        np.testing.assert_allclose(value.const_value.numpy(), other.numpy(), atol=2e-4, err_msg=name)
