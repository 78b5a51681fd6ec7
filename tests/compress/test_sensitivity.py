"""Sensitivity: what each weight, truncated alone, does to the model's output."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.allocators import Uniform
from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.eligibility import choose_eligible
from squeeze_onnx.compress.sensitivity import (
    Prober,
    find_starts,
    probe_sensitivity,
    run_to_starts,
    values_of_starts,
)
from squeeze_onnx.compress.spectra import SiteSpectra, SiteView, measure_view, noise_distances
from squeeze_onnx.compress.truncation import truncate
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import replace_weight
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.weightings import Identity
from tests.graph.execution import run
from tests.tiny_encoder import batch, encoder_model, weights_of, with_weights, write_model_folder

PROBE = Uniform(0.5)


def calibration() -> CalibrationBatch:
    feeds = batch()
    return CalibrationBatch(feeds, feeds["attention_mask"])


def probed(model: OnnxModel) -> tuple[SiteSpectra, ...]:
    sites = choose_eligible(find_sites(model.ir).sites).sites
    views = [SiteView.of(site, Identity()) for site in sites]
    starts = find_starts(model.ir, sites)
    values = values_of_starts(model.ir, starts)
    with session_showing(model.ir, values, "cpu") as session:
        started = run_to_starts(session, values, [calibration()])
    prober = Prober(model.ir, starts, started)
    config = AnalyzeConfig(simulations=1)
    distances = noise_distances(sites, config)
    spectra = [measure_view(view, distances[view.site.name], config) for view in views]
    return tuple(
        probe_sensitivity(prober, view, each, PROBE, Exact()) for view, each in zip(views, spectra, strict=True)
    )


def pooled(outputs: list[np.ndarray], feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    mask = feeds["attention_mask"].astype(float)
    pooled: np.ndarray = np.einsum("stf,st->sf", outputs[0].astype(float), mask) / mask.sum(axis=1, keepdims=True)
    return pooled


@pytest.fixture
def encoder(tmp_path: Path) -> OnnxModel:
    return load_model(write_model_folder(tmp_path / "encoder"))


def test_it_is_the_output_error_of_truncating_that_weight_alone(encoder: OnnxModel) -> None:
    measured = probed(encoder)[5]
    feeds = batch()
    reference = pooled(run(encoder.ir, feeds), feeds)
    rank = PROBE.allocate([measured.candidate])[measured.site.name].rank
    factors, errors = truncate(read_weight(measured.site), rank, Identity(), Exact())
    copy = encoder.ir.clone()
    [site] = [site for site in find_sites(copy).sites if site.name == measured.site.name]
    replace_weight(copy, site, factors.product())
    moved = pooled(run(copy, feeds), feeds)
    output_error = np.square(moved - reference).sum() / np.square(reference - reference.mean(axis=0)).sum()
    assert measured.candidate.sensitivity == pytest.approx(output_error / errors.weighted_error**2, rel=1e-3)


def test_a_weight_whose_output_is_thrown_away_does_not_matter(tmp_path: Path) -> None:
    model = encoder_model()
    zeros = {"layer.1/ffn_out.weight": np.zeros_like(weights_of(model)["layer.1/ffn_out.weight"])}
    folder = write_model_folder(tmp_path / "idle", with_weights(model, zeros))
    sensitivity = {m.site.name: m.candidate.sensitivity for m in probed(load_model(folder))}
    assert sensitivity["layer.1/ffn_in"] == 0
    assert sensitivity["layer.1/ffn_out"] == 0
    assert sensitivity["layer.0/ffn_in"] > 0


def test_the_model_is_left_as_it_was(encoder: OnnxModel) -> None:
    before = ir.to_proto(encoder.ir).SerializeToString(deterministic=True)
    spectra = probed(encoder)
    assert ir.to_proto(encoder.ir).SerializeToString(deterministic=True) == before
    assert all(replace(m.candidate, sensitivity=1.0) != m.candidate for m in spectra)
