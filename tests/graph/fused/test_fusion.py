"""Fusion on what real exporters write: the squeezed graph fuses as the dense one does, and computes the same."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from squeeze_onnx.graph.fused.fusion import FUSIONS, count_fused, fuse, fuse_squeezed
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site
from tests.architectures import EXPORTS, exported_models, padded_batch
from tests.graph.execution import run, svd_factors

# Two layers each, an attention, a Gelu and two normalizations in each.
ENCODER = {"Attention": 2, "EmbedLayerNormalization": 1, "SkipLayerNormalization": 4, "Gelu": 2}
ENCODERS = ("bert", "distilbert", "roberta", "mpnet")
SPELLED_OUT = ("optimum", "dynamo")
EXACT = [
    pytest.param(architecture, exporter, id=f"{architecture} by {exporter}")
    for architecture, exporters in EXPORTS.items()
    for exporter in exporters
    if exporter not in {"float16", "int8", "qdq"}
]


@pytest.fixture(scope="module")
def exports(model_cache: Path) -> Path:
    return exported_models(model_cache)


def squeeze_layers(model: ir.Model) -> None:
    for site in find_sites(model).sites:
        if site.layer is not None:
            factor_site(model, site, *svd_factors(site.weight.numpy(), max(1, site.break_even_rank)))


@pytest.mark.parametrize("provider", FUSIONS)
@pytest.mark.parametrize("exporter", SPELLED_OUT)
@pytest.mark.parametrize("architecture", ENCODERS)
def test_a_squeezed_encoder_gets_every_fusion_of_the_dense_one(
    exports: Path, architecture: str, exporter: str, provider: str
) -> None:
    dense = ir.load(exports / architecture / f"{exporter}.onnx")
    squeezed = dense.clone()
    squeeze_layers(squeezed)
    counts = fuse_squeezed(squeezed, dense, provider)
    normalizations = {"SkipLayerNormalization": 4 if provider == "cuda" else 0}
    assert counts.dense == counts.squeezed == ENCODER | normalizations
    assert counts.to_json()["Gelu"] == {"dense": 2, "squeezed": 2}


@pytest.mark.parametrize("architecture", ENCODERS)
def test_the_dense_encoder_gets_every_fusion_that_onnxruntimes_optimizer_gives_it(
    exports: Path, architecture: str
) -> None:
    theirs = count_fused(ir.load(exports / architecture / "fused_level1.onnx"))
    # The optimizer counts the normalization of MPNet's embedding as one of a residual sum.
    assert theirs["Attention"] <= ENCODER["Attention"]
    assert theirs["Gelu"] == ENCODER["Gelu"]
    normalizations = ("EmbedLayerNormalization", "SkipLayerNormalization")
    assert sum(theirs[kind] for kind in normalizations) <= sum(ENCODER[kind] for kind in normalizations)


@pytest.mark.parametrize("squeezed", [False, True], ids=["dense", "squeezed"])
@pytest.mark.parametrize(("architecture", "exporter"), EXACT)
def test_a_fused_model_computes_the_same_on_a_padded_batch(
    exports: Path, architecture: str, exporter: str, squeezed: bool
) -> None:
    path = exports / architecture / f"{exporter}.onnx"
    model, feeds = ir.load(path), padded_batch(path)
    if squeezed:
        squeeze_layers(model)
    expected = run(model, feeds)
    fuse(model, "cuda")
    for level in ("DISABLE_ALL", "ENABLE_ALL"):
        for actual, output in zip(run(model, feeds, level), expected, strict=True):
            np.testing.assert_allclose(actual, output, rtol=0, atol=1e-5)


@pytest.mark.parametrize("exporter", SPELLED_OUT)
@pytest.mark.parametrize("architecture", ENCODERS)
def test_for_the_cpu_onnxruntime_leaves_sums_and_normalizations_apart(
    exports: Path, tmp_path: Path, architecture: str, exporter: str
) -> None:
    path = exports / architecture / f"{exporter}.onnx"
    model, feeds = ir.load(path), padded_batch(path)
    expected = run(model, feeds)
    fuse(model, "cpu")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    serialized = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "SkipLayerNormalization" not in operators
    assert {"Attention", "LayerNormalization", "BiasGelu", "EmbedLayerNormalization"} <= operators
    for actual, output in zip(session.run(None, feeds), expected, strict=True):
        np.testing.assert_allclose(actual, output, rtol=0, atol=1e-5)


def test_half_precision_is_fused_too(exports: Path) -> None:
    path = exports / "bert" / "float16.onnx"
    model, feeds = ir.load(path), padded_batch(path)
    [expected] = run(model, feeds)
    fuse(model, "cuda")
    assert count_fused(model) == ENCODER
    np.testing.assert_allclose(run(model, feeds)[0], expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "phi", "deberta", "modernbert"])
def test_an_attention_that_the_fused_operators_do_not_compute_is_left_alone(exports: Path, architecture: str) -> None:
    model = ir.load(exports / architecture / "optimum.onnx")
    fuse(model, "cuda")
    assert count_fused(model)["Attention"] == 0


def test_fusing_twice_changes_nothing_more(exports: Path) -> None:
    model = ir.load(exports / "bert" / "optimum.onnx")
    fuse(model, "cuda")
    before = [node.name for node in model.graph]
    fuse(model, "cuda")
    assert [node.name for node in model.graph] == before
