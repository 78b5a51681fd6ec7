"""Slices in the metric of what outputs do to the answer."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.slicing import Measurement, SiteStatistics, blocks_among, measure_blocks
from squeeze_onnx.compress.slicing.heads import Contexts
from squeeze_onnx.compress.slicing.neurons import Neurons
from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.fisher_moments import ElementFisher, OutputFisher
from squeeze_onnx.spectral.moments import TokenFrequency
from tests.tiny_encoder import HIDDEN, VOCABULARY, encoder_model

FFN_OUT, OUTPUT = "layer.0/ffn_out", "layer.0/attention_output"


@pytest.fixture(scope="module")
def sites() -> tuple[MatMulSite, ...]:
    return find_sites(ir.from_proto(encoder_model())).sites


def blocks(sites: tuple[MatMulSite, ...], gram: np.ndarray | None) -> dict[str, Measurement]:
    ids = np.random.default_rng(0).integers(5, VOCABULARY, (30, 9))
    batch = CalibrationBatch({"input_ids": ids, "attention_mask": np.ones_like(ids)}, None)
    moments = collect_moments(ir.from_proto(encoder_model()), sites, [batch])
    fisher = {} if gram is None else dict.fromkeys((FFN_OUT, OUTPUT), OutputFisher(gram, 1))
    return measure_blocks(blocks_among(sites, ("neurons", "heads")), SiteStatistics.of(moments, fisher))


def found(measured: dict[str, Measurement]) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of the first block of neurons and of the first attention, smaller blocks later."""
    neurons = next(each for each in measured.values() if isinstance(each, Neurons) and each.after[0] == FFN_OUT)
    contexts = next(each for each in measured.values() if isinstance(each, Contexts) and each.after[0] == OUTPUT)
    return neurons.elimination.errors, contexts.errors


def test_equal_outputs_change_the_unit_only(sites: tuple[MatMulSite, ...]) -> None:
    plain, weighted = found(blocks(sites, None)), found(blocks(sites, 4 * np.eye(HIDDEN)))
    for without, within in zip(plain, weighted, strict=True):
        np.testing.assert_allclose(within, 4 * without, rtol=1e-6, atol=1e-9)


def test_outputs_that_matter_little_cost_little(sites: tuple[MatMulSite, ...]) -> None:
    uneven = np.diag(np.where(np.arange(HIDDEN) < 4, 1.0, 1e-6))
    for even, within in zip(found(blocks(sites, np.eye(HIDDEN))), found(blocks(sites, uneven)), strict=True):
        assert within.max() < 0.4 * even.max()


def test_knows_what_weighs_outputs_and_what_is_in_a_block(sites: tuple[MatMulSite, ...]) -> None:
    site = next(site for site in sites if site.name == FFN_OUT)
    fisher = ElementFisher(np.ones((site.in_features, site.out_features)))
    seen = SiteStatistics.of({FFN_OUT: TokenFrequency(np.ones(3))}, {FFN_OUT: fisher})
    assert (seen.moments, seen.fisher) == ({}, {})
    np.testing.assert_array_equal(seen.weight(site), site.weight.numpy())
