"""What is measured of each weight, as it is standardized and as the method sees it."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.spectra import measure_spectra
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.rmt.noise import BulkFit, EntryVariance
from squeeze_onnx.spectral.rmt.summary import find_cut
from squeeze_onnx.spectral.weightings import Identity, Standardization, Weighting
from squeeze_onnx.support.errors import ModelError
from tests.tiny_models import matmul_model
from tests.tracks import RecordingTrack

CONFIG = AnalyzeConfig(simulations=1)


def site_of(weight: np.ndarray) -> MatMulSite:
    [site] = find_sites(ir.from_proto(matmul_model(numpy_helper.from_array(weight, "W")))).sites
    return site


def planted() -> np.ndarray:
    """Return noise with 3 strong components and a mean of 5."""
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((30, 3)) @ generator.standard_normal((3, 50))
    return (signal + generator.standard_normal((30, 50)) + 5).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_weight_is_read_in_float64(dtype: type[np.floating]) -> None:
    weight = read_weight(site_of(planted().astype(dtype)))
    assert weight.dtype == np.float64
    np.testing.assert_array_equal(weight, planted().astype(dtype))


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused_by_name(entry: float) -> None:
    weight = planted()
    weight[2, 3] = entry
    with pytest.raises(ModelError, match="the weight W of node linear holds NaN or infinite values"):
        read_weight(site_of(weight))


def test_the_summary_is_of_the_standardized_weight() -> None:
    [measured] = measure_spectra([site_of(planted())], lambda _: Standardization(), CONFIG)
    standardized = (planted() - planted().mean(dtype=np.float64)) / planted().std(dtype=np.float64)
    spectrum = measured.candidate.spectrum
    np.testing.assert_allclose(spectrum.singular_values, np.linalg.svd(standardized, compute_uv=False), rtol=1e-6)
    assert (spectrum.shape, spectrum.weighting) == ((30, 50), "standardization")
    assert measured.summary.aspect_ratio == 0.6
    assert measured.summary.signal_rank == 3
    assert measured.summary.noise_sigma == pytest.approx(1)
    assert (measured.candidate.edge, measured.candidate.extra_rank) == (measured.summary.tw_edge, 1)


@pytest.mark.parametrize("weighting", [Identity(), Standardization()], ids=lambda weighting: type(weighting).__name__)
def test_the_summary_does_not_depend_on_the_method(weighting: Weighting) -> None:
    [measured] = measure_spectra([site_of(planted())], lambda _: weighting, CONFIG)
    [reference] = measure_spectra([site_of(planted())], lambda _: Standardization(), CONFIG)
    assert measured.summary == reference.summary


def test_the_candidate_has_the_spectrum_and_edge_that_the_method_sees() -> None:
    [measured] = measure_spectra([site_of(planted())], lambda _: Identity(), CONFIG)
    spectrum = measured.candidate.spectrum
    np.testing.assert_allclose(spectrum.singular_values, np.linalg.svd(planted(), compute_uv=False), rtol=1e-5)
    assert measured.candidate.edge == find_cut(spectrum, EntryVariance(), 0.95).tw_edge
    assert measured.candidate.extra_rank == 0


def test_noise_and_probability_are_those_of_the_configuration() -> None:
    config = AnalyzeConfig(noise="bulk", probability=0.5, simulations=1)
    [measured] = measure_spectra([site_of(planted())], lambda _: Standardization(), config)
    assert measured.summary.tw_edge == find_cut(measured.candidate.spectrum, BulkFit(), 0.5).tw_edge


def test_the_same_seed_gives_the_same_p_values() -> None:
    sites = [site_of(planted()[:12, :14])]
    [first], [second] = (measure_spectra(sites, lambda _: Identity(), AnalyzeConfig(seed=4)) for _ in range(2))
    assert first.summary == second.summary


def test_a_weight_of_zeros_has_nothing() -> None:
    [measured] = measure_spectra([site_of(np.zeros((8, 9), np.float32))], lambda _: Standardization(), CONFIG)
    summary = measured.summary
    assert (summary.signal_rank, summary.effective_rank, summary.stable_rank, summary.ks_distance) == (0, 0, 0, 0)
    assert (summary.noise_sigma, summary.tw_edge, summary.ks_p_value) == (0, 0, 1)


def test_sites_are_measured_in_order_and_tracked() -> None:
    model = matmul_model(
        *(numpy_helper.from_array(planted()[:8, :8] * size, f"W{size}") for size in (1, 2)),
        nodes=[
            onnx.helper.make_node("MatMul", ["x", "W1"], ["h"], name="first"),
            onnx.helper.make_node("MatMul", ["h", "W2"], ["y"], name="second"),
        ],
    )
    track = RecordingTrack()
    spectra = measure_spectra(find_sites(ir.from_proto(model)).sites, lambda _: Identity(), CONFIG, track)
    assert [measured.site.name for measured in spectra] == ["first", "second"]
    assert track.taken == {"Noise": 1, "Spectra": 2}
