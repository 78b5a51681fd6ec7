"""Learning which components stay: against a planted model, and on the tiny encoder."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.compress.allocators import GlobalBudget
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.factoring import Truncating, rewrite_sites
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planning import make_plan
from squeeze_onnx.compress.soco.learn import SocoConfig, SpectrumLearning, learn_spectra
from squeeze_onnx.compress.soco.scaled_graph import scale_sites
from squeeze_onnx.compress.spectra import SiteSpectra, measure_spectra
from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.evaluate.answer_heads import TokenEmbeddings
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.losses import LOSS, EmbeddingError, LossHead, attach_losses
from squeeze_onnx.learning.teacher import teach
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.support.errors import ModelError, OptionError
from tests.graph.execution import run
from tests.learning.test_distill import text
from tests.tiny_encoder import ELIGIBLE_SITES, batch, encoder_model

KEEP = 0.5
QUICK = SocoConfig(scale_rate=0.03, growth=1.05, window=5)
TOKENS = TokenEmbeddings("last_hidden_state")


def dense() -> ir.Model:
    model: ir.Model = ir.from_proto(encoder_model())
    return model


def measured(model: ir.Model, batches: Sequence[CalibrationBatch], names: Sequence[str]) -> tuple[SiteSpectra, ...]:
    sites = [site for site in find_sites(model).sites if site.name in names]
    return measure_spectra(sites, METHODS["svd"].weighting_of({}), OptimizeConfig(simulations=1))


def learned(config: SocoConfig = QUICK, *, keep: float = KEEP) -> tuple[SpectrumLearning, tuple[SiteSpectra, ...]]:
    """Learn on the tiny encoder, decomposed as its inputs see its weights."""
    model = dense()
    spectra = measured(model, text(), ELIGIBLE_SITES)
    moments = collect_moments(model, [each.site for each in spectra], text())
    found = learn_spectra(
        model,
        spectra,
        METHODS["soco"].weighting_of(moments),
        Teaching(distillation_losses(model, TOKENS), text(), threads=1),
        keep=keep,
        config=config,
    )
    return found, tuple(
        replace(each, candidate=candidate) for each, candidate in zip(spectra, found.candidates, strict=True)
    )


def planned(spectra: Sequence[SiteSpectra], keep: float) -> Plan:
    return make_plan(
        spectra, GlobalBudget(keep), method="soco", budget={"keep": keep}, above_break_even="leave", skipped=()
    )


def folded(found: SpectrumLearning, plan: Plan) -> ir.Model:
    model = dense()
    sites = {site.name: site for site in find_sites(model).sites}
    rewrite_sites(
        model,
        [sites[planned.name] for planned in plan.sites],
        plan.sites,
        Truncating(lambda site: found.spectra[site.name], Exact()),
    )
    return model


@pytest.fixture(scope="module")
def whole() -> tuple[SpectrumLearning, tuple[SiteSpectra, ...]]:
    return learned()


class TestAPlantedModel:
    """The output hangs on the direction in which the weight is smallest; the singular values say the opposite."""

    SIZE, HIDDEN_TREASURE = 8, 7

    def model(self) -> ir.Model:
        rng = np.random.default_rng(0)
        left = np.linalg.qr(rng.standard_normal((self.SIZE, self.SIZE)))[0]
        strengths = np.array([4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5])
        gain = np.full(self.SIZE, 0.1)
        gain[self.HIDDEN_TREASURE] = 20
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["h"], name="site"), helper.make_node("Mul", ["h", "g"], ["y"])],
            "planted",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", self.SIZE])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", self.SIZE])],
            [
                numpy_helper.from_array((left * strengths).astype(np.float32), "w"),
                numpy_helper.from_array(gain.astype(np.float32), "g"),
            ],
        )
        model: ir.Model = ir.from_proto(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        )
        return model

    def first_component(self, config: SocoConfig) -> int:
        """Return the feature that the most valuable component is about."""
        rng = np.random.default_rng(1)
        feeds = [{"x": rng.standard_normal((32, self.SIZE)).astype(np.float32)} for _ in range(4)]
        batches, model = [CalibrationBatch(each, None) for each in feeds], self.model()
        losses: list[LossHead] = [EmbeddingError("y", axes=2)]
        weighting_of = METHODS["svd"].weighting_of({})
        spectra = measured(model, batches, ["site"])
        found = learn_spectra(
            model, spectra, weighting_of, Teaching(losses, batches, threads=1), keep=0.5, config=config
        )
        return int(np.argmax(np.abs(found.spectra["site"].right[0])))

    def test_keeps_the_small_singular_value_that_matters_which_magnitude_drops(self) -> None:
        assert self.first_component(QUICK) == self.HIDDEN_TREASURE
        assert self.first_component(SocoConfig(stages=())) == 0


def test_goes_through_the_stages_by_their_criteria(whole: tuple[SpectrumLearning, tuple[SiteSpectra, ...]]) -> None:
    stages = whole[0].stages
    assert [stage.name for stage in stages] == ["compression", "alternation", "sparsification"]
    assert all(stage.met for stage in stages)
    assert stages[-1].size <= KEEP


@pytest.mark.parametrize("keep", [0.3, KEEP, 0.7])
def test_one_run_is_cut_to_any_budget(whole: tuple[SpectrumLearning, tuple[SiteSpectra, ...]], keep: float) -> None:
    plan = planned(whole[1], keep)
    cheapest = min(sum(site.shape) for site in plan.sites)
    assert keep * plan.eligible_parameters - cheapest < plan.kept_parameters <= keep * plan.eligible_parameters


def test_folds_into_factors_without_a_node_more(whole: tuple[SpectrumLearning, tuple[SiteSpectra, ...]]) -> None:
    found, plan = whole[0], planned(whole[1], KEEP)
    model, start = folded(found, plan), dense()
    factored = [site for site in plan.sites if site.treatment == "factored"]
    added = [node.op_type for node in model.graph][:]
    for node in start.graph:
        added.remove(node.op_type)
    assert added == ["MatMul"] * len(factored)
    assert {site.treatment for site in plan.sites} <= {"factored", "dense"}


def test_computes_what_was_learned(whole: tuple[SpectrumLearning, tuple[SiteSpectra, ...]]) -> None:
    """The folded model is the scaled graph with the rest at zero, and its loss the one that learning ended with."""
    found, plan = whole[0], planned(whole[1], KEEP)
    model, scaled = folded(found, plan), dense()
    sites = {site.name: site for site in find_sites(scaled).sites}
    factored = {site.name: site.rank for site in plan.sites if site.rank is not None}
    components = {name: found.spectra[name].apply(np.empty(sites[name].weight.shape)) for name in factored}
    whole_factors = {
        name: each.factors(Exact().decompose(each.matrix, 1), len(each.learned.output_error))
        for name, each in components.items()
    }
    for name, site in scale_sites(scaled, [sites[name] for name in factored], whole_factors).items():
        scales = (np.arange(whole_factors[name].rank) < factored[name]).astype(np.float32)
        scaled.graph.initializers[site.scale].const_value = ir.tensor(scales, name=site.scale)
    [expected], [answer] = run(scaled, batch()), run(model, batch())
    assert answer == pytest.approx(expected, abs=1e-5)
    assert loss_of(model) == pytest.approx(found.stages[-1].loss, rel=0.2)


def test_loses_less_than_what_is_not_trained(whole: tuple[SpectrumLearning, tuple[SiteSpectra, ...]]) -> None:
    untrained, spectra = learned(SocoConfig(stages=()))
    assert untrained.stages == ()
    before = loss_of(folded(untrained, planned(spectra, KEEP)))
    assert loss_of(folded(whole[0], planned(whole[1], KEEP))) < 0.8 * before


def test_rescaling_what_a_plan_keeps_changes_no_rank() -> None:
    config = replace(QUICK, stages=("sparsification",), deviation=False)
    (untrained, before), (rescaled, after) = learned(replace(config, stages=())), learned(config)
    assert planned(before, KEEP) == planned(after, KEEP)
    for name, spectrum in rescaled.spectra.items():
        assert spectrum.right == pytest.approx(untrained.spectra[name].right, abs=1e-6)
    assert loss_of(folded(rescaled, planned(after, KEEP))) < loss_of(folded(untrained, planned(before, KEEP)))


def test_repeats_itself_and_depends_on_the_seed() -> None:
    short = replace(QUICK, most_steps=30)
    (first, _), (second, _), (other, _) = learned(short), learned(short), learned(replace(short, seed=1))
    assert first.stages == second.stages
    assert not first.stages[0].met
    assert all(np.array_equal(each.left, second.spectra[name].left) for name, each in first.spectra.items())
    assert not all(np.array_equal(each.left, other.spectra[name].left) for name, each in first.spectra.items())


def test_refuses_half_precision_and_no_text() -> None:
    half: ir.Model = ir.from_proto(encoder_model(dtype=np.float16))
    spectra = measured(half, text(), ["layer.0/query"])
    weighting_of = METHODS["svd"].weighting_of({})
    losses = distillation_losses(half, TOKENS)
    with pytest.raises(ModelError, match=r"learns float32 weights, but that of node layer\.0/query is FLOAT16"):
        learn_spectra(half, spectra, weighting_of, Teaching(losses, text()), keep=0.5)
    with pytest.raises(OptionError, match="`method` soco learns from text"):
        learn_spectra(half, spectra, weighting_of, Teaching(losses, ()), keep=0.5)


def loss_of(model: ir.Model) -> float:
    """Return the mean loss over all the text."""
    import tempfile
    from pathlib import Path

    graph = attach_losses(model, distillation_losses(dense(), TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        taught = teach(dense(), graph, text(), Path(folder))
        session = open_session(ir.to_proto(graph.model).SerializeToString())
        return float(np.mean([session.run((LOSS,), taught.feeds(index))[0] for index in range(len(text()))]))
