"""The graph with scales: the dense one at 1, and differentiable by them."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.soco.scaled_graph import ScaledSite, scale_sites
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import ClassLogits
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.losses import LOSS, attach_losses
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.weightings import Identity
from tests.graph.execution import run
from tests.learning.differentiation import gradients
from tests.tiny_encoder import batch, encoder_model


def dense() -> ir.Model:
    model: ir.Model = ir.from_proto(encoder_model(classifier=True))
    return model


def scaled() -> tuple[ir.Model, dict[str, ScaledSite]]:
    """Return the encoder with scales on all its sites: products, a lookup, and a Gemm that transposes."""
    model = dense()
    sites = find_sites(model).sites
    components = {}
    for site in sites:
        matrix = Identity().apply(site.weight.numpy()).matrix
        components[site.name] = Exact().decompose(matrix, min(matrix.shape)).factors(min(matrix.shape))
    return model, scale_sites(model, sites, components)


def size_of(model: ir.Model, name: str) -> int:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return int(tensor.size)


def set_scales(model: ir.Model, entries: dict[str, np.ndarray]) -> None:
    for name, scales in entries.items():
        model.graph.initializers[name].const_value = ir.tensor(scales.astype(np.float32), name=name)


def test_is_the_dense_model_while_all_scales_are_one() -> None:
    model, sites = scaled()
    assert {"embedding", "classifier", "layer.0/query"} < set(sites)
    [expected], [found] = run(dense(), batch()), run(model, batch())
    assert found == pytest.approx(expected, abs=1e-5)


def test_scales_act_on_every_site() -> None:
    model, sites = scaled()
    [expected] = run(model, batch())
    for name, site in sites.items():
        ones = np.ones(size_of(model, site.scale))
        set_scales(model, {site.scale: np.concatenate([[0], ones[1:]])})
        [found] = run(model, batch())
        assert np.abs(found - expected).max() > 1e-4, name
        set_scales(model, {site.scale: ones})


def test_gradients_by_scales_agree_with_finite_differences() -> None:
    model, sites = scaled()
    rng = np.random.default_rng(0)
    sizes = {site.scale: size_of(model, site.scale) for site in sites.values()}
    start = {name: rng.uniform(0.4, 1.1, size) for name, size in sizes.items()}
    set_scales(model, start)
    losses = distillation_losses(dense(), ClassLogits("logits", (0, 1)))
    graph = attach_losses(model, losses)
    targets = dense()
    known = {str(value.name): value for node in targets.graph for value in node.outputs}
    targets.graph.outputs[:] = [known[name] for name in graph.targets]
    for value in targets.graph.outputs:
        value.type = ir.TensorType(ir.DataType.FLOAT)
    taught = dict(zip(graph.targets, run(targets, batch()), strict=True))
    mask = batch()["attention_mask"][..., None].astype(np.float32)
    taught = {name: array * mask if array.ndim == 3 else array for name, array in taught.items()}
    feeds = {**batch(), **graph.feeds(CalibrationBatch(batch(), batch()["attention_mask"]), taught)}
    found = gradients(graph.model, list(sizes), feeds)
    direction = {name: rng.standard_normal(size) for name, size in sizes.items()}
    step, ends = 1e-3, []
    for sign in (1, -1):
        set_scales(graph.model, {name: start[name] + sign * step * direction[name] for name in sizes})
        losses_found = run(graph.model, feeds)
        names = [str(value.name) for value in graph.model.graph.outputs]
        ends.append(float(losses_found[names.index(LOSS)]))
    expected = (ends[0] - ends[1]) / (2 * step)
    assert sum(float(np.vdot(found[name], direction[name])) for name in sizes) == pytest.approx(expected, rel=5e-3)
