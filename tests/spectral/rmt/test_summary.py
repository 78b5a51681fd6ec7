"""The summary: every number is the one its module gives."""

import dataclasses

import numpy as np
import pytest

from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS, BulkFit, EntryVariance, KnownNoise, NoiseEstimator
from squeeze_onnx.spectral.rmt.null_model import ks_p_value, simulate_ks_distances
from squeeze_onnx.spectral.rmt.spectrum import Spectrum, effective_rank, stable_rank
from squeeze_onnx.spectral.rmt.summary import NoiseCut, SpectrumSummary, summarize
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge
from squeeze_onnx.support.errors import OptionError
from tests.strategies import plant

ANY_DISTANCES = np.array([0.1, 0.2])


def test_a_summary_puts_all_measures_side_by_side() -> None:
    spectrum = plant((60, 90), strengths=(6.0, 5.0, 4.0), noise_sigma=0.2, seed=0).spectrum
    sigma = BulkFit().estimate(spectrum)
    distances = simulate_ks_distances((60, 90), BulkFit(), range(19), seed=5)
    summary = summarize(spectrum, BulkFit(), distances, probability=0.99)
    cuts = {name: summary.by_estimator[name] for name in NOISE_ESTIMATORS}
    assert summary == SpectrumSummary(
        aspect_ratio=2 / 3,
        noise_sigma=sigma,
        mp_edge=summary.mp_edge,
        tw_edge=noise_edge((60, 90), sigma, 0.99),
        signal_rank=3,
        effective_rank=effective_rank(spectrum.singular_values),
        stable_rank=stable_rank(spectrum.singular_values),
        ks_distance=spectrum.ks_distance(sigma),
        ks_p_value=ks_p_value(spectrum, BulkFit(), distances),
        by_estimator=cuts,
    )
    assert summary.mp_edge == pytest.approx(sigma * (np.sqrt(60) + np.sqrt(90)))
    assert cuts["bulk"] == NoiseCut(summary.noise_sigma, summary.tw_edge, summary.signal_rank)


def test_the_cut_moves_with_the_estimator() -> None:
    spectrum = plant((60, 90), strengths=(30.0, 2.0), noise_sigma=1.0, seed=0).spectrum
    cuts = summarize(spectrum, EntryVariance(), ANY_DISTANCES).by_estimator
    assert cuts["entries"].noise_sigma > cuts["median"].noise_sigma > cuts["bulk"].noise_sigma
    assert {name: cut.signal_rank for name, cut in cuts.items()} == {"entries": 1, "median": 2, "bulk": 2}


@pytest.mark.parametrize("noise", [kind() for kind in NOISE_ESTIMATORS.values()], ids=NOISE_ESTIMATORS)
@pytest.mark.parametrize("shape", [(1, 1), (20, 30)], ids=str)
def test_a_matrix_of_zeros_is_summarized_without_a_warning(noise: NoiseEstimator, shape: tuple[int, int]) -> None:
    summary = summarize(Spectrum(np.zeros(min(shape)), shape, weighting="identity"), noise, ANY_DISTANCES)
    nothing = NoiseCut(noise_sigma=0.0, tw_edge=0.0, signal_rank=0)
    zeros = dataclasses.asdict(summary) | {"aspect_ratio": 0, "ks_p_value": 0, "by_estimator": None}
    assert {value for value in zeros.values() if value is not None} == {0}
    assert summary.ks_p_value == 1
    assert set(summary.by_estimator.values()) == {nothing}


def test_a_probability_out_of_range_is_refused() -> None:
    with pytest.raises(OptionError, match="the edge probability"):
        summarize(Spectrum(np.ones(3), (3, 3), weighting="identity"), KnownNoise(1.0), ANY_DISTANCES, probability=1.0)


def test_unless_told_otherwise_the_edge_is_at_95_percent() -> None:
    spectrum = plant((20, 30), strengths=(), noise_sigma=1.0, seed=0).spectrum
    told = summarize(spectrum, BulkFit(), ANY_DISTANCES, probability=0.95)
    assert summarize(spectrum, BulkFit(), ANY_DISTANCES) == told
