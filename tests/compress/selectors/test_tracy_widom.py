"""Tracy–Widom edge by simulation: pure noise keeps rank 0 as often as it says, planted signal is found above BBP."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from squeeze_onnx.compress.selectors import TracyWidomEdge
from squeeze_onnx.spectral.rmt.noise import BulkFit, EntryVariance, KnownNoise, MedianSingularValue, NoiseEstimator
from squeeze_onnx.spectral.rmt.null_model import sample_noise_spectrum
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge
from squeeze_onnx.support.errors import OptionError
from tests.strategies import PlantedSpectrum, plant, planted_spectra, spectrum_of

SHAPES = {"square": (160, 160), "a quarter": (100, 400), "a fortieth": (1600, 40)}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def part_without_signal(spectra: list[Spectrum], noise: NoiseEstimator) -> float:
    return float(np.mean([TracyWidomEdge(0.95, noise).select(spectrum).rank == 0 for spectrum in spectra]))


def binomial_interval(count: int) -> tuple[float, float]:
    low, high = binom.interval(0.99, count, 0.95)
    return low / count, high / count


@pytest.fixture(scope="module")
def noise_spectra() -> dict[tuple[int, int], list[Spectrum]]:
    generator = np.random.default_rng(20)
    return {shape: [sample_noise_spectrum(shape, generator) for _ in range(500)] for shape in SHAPES.values()}


@every_shape
@pytest.mark.parametrize("noise", [KnownNoise(1.0), EntryVariance(), BulkFit()], ids=["known", "entries", "bulk"])
def test_95_percent_of_noise_matrices_keep_rank_0_at_the_95_percent_edge(
    noise_spectra: dict[tuple[int, int], list[Spectrum]], shape: tuple[int, int], noise: NoiseEstimator
) -> None:
    low, high = binomial_interval(500)
    assert low <= part_without_signal(noise_spectra[shape], noise) <= high


@every_shape
def test_with_the_median_a_few_per_cent_less_do(
    noise_spectra: dict[tuple[int, int], list[Spectrum]], shape: tuple[int, int]
) -> None:
    """One order statistic scatters about as much as the largest singular value at these sizes: 91 to 94 %."""
    assert 0.88 <= part_without_signal(noise_spectra[shape], MedianSingularValue()) <= 0.96


@pytest.mark.parametrize("noise", [EntryVariance(), BulkFit()], ids=["entries", "bulk"])
def test_the_same_holds_for_real_matrices_of_any_noise_level(noise: NoiseEstimator) -> None:
    generator = np.random.default_rng(21)
    spectra = [spectrum_of(0.03 * generator.standard_normal((80, 160))) for _ in range(300)]
    low, high = binomial_interval(300)
    assert low <= part_without_signal(spectra, noise) <= high


@given(planted_spectra(weakest=3.5, strongest=30.0))
@settings(max_examples=40)
def test_signal_above_the_transition_is_found_to_the_last_component(planted: PlantedSpectrum) -> None:
    for noise in (BulkFit(), KnownNoise(planted.noise_sigma)):
        # At 1 − 1e-6 not one of the examples is expected to show a component of noise.
        choice = TracyWidomEdge(1 - 1e-6, noise).select(planted.spectrum)
        assert choice.rank == len(planted.strengths)


@every_shape
@pytest.mark.parametrize(
    "noise", [EntryVariance(), MedianSingularValue(), BulkFit()], ids=["entries", "median", "bulk"]
)
def test_every_estimator_finds_a_few_equal_components(shape: tuple[int, int], noise: NoiseEstimator) -> None:
    planted = plant(shape, strengths=(4.0, 3.5, 3.0), noise_sigma=0.1, seed=22)
    assert TracyWidomEdge(0.999, noise).select(planted.spectrum).rank == 3


@given(planted_spectra(weakest=0.01, strongest=0.1))
@settings(max_examples=40)
def test_signal_below_the_transition_is_not_found(planted: PlantedSpectrum) -> None:
    """β is at least ½ here, so the transition is at a strength of 0.84 or more."""
    for noise in (EntryVariance(), BulkFit(), KnownNoise(planted.noise_sigma)):
        assert TracyWidomEdge(1 - 1e-6, noise).select(planted.spectrum).rank == 0


@every_shape
def test_the_transition_lies_where_bbp_put_it(shape: tuple[int, int]) -> None:
    """Components at 0.5 and 2 times β^¼, many matrices: seldom more found than noise alone shows, and always found."""
    transition = (min(shape) / max(shape)) ** 0.25
    below, above = (
        [
            TracyWidomEdge(0.95, KnownNoise(1.0)).select(plant(shape, (factor * transition,), 1.0, seed).spectrum).rank
            for seed in range(30)
        ]
        for factor in (0.5, 2.0)
    )
    assert sum(below) <= binom.ppf(0.999, 30, 0.05)
    assert min(above) == 1


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0, float("nan")])
def test_a_probability_out_of_range_is_refused(probability: float) -> None:
    with pytest.raises(OptionError, match="the edge probability must be a float in the range"):
        TracyWidomEdge(probability)


def test_a_matrix_of_zeros_has_rank_0() -> None:
    choice = TracyWidomEdge().select(Spectrum(np.zeros(4), (4, 6), weighting="identity"))
    assert (choice.rank, choice.threshold) == (0, 0.0)


def test_the_choice_says_what_it_did() -> None:
    spectrum = Spectrum(np.array([40.0, 2.0, 1.0]), (3, 100), weighting="identity")
    choice = TracyWidomEdge(0.99, KnownNoise(0.5)).select(spectrum)
    assert (choice.rank, choice.selector) == (1, "tracy-widom")
    assert choice.threshold == noise_edge((3, 100), 0.5, 0.99)
    assert choice.reason == "1 of 3 singular values are above 6.217, the 99 % Tracy–Widom edge of noise with σ = 0.5"


@given(st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_higher_probability_keeps_no_more(probability: float) -> None:
    spectrum = plant((50, 70), strengths=(1.5, 1.4, 1.3, 1.2), noise_sigma=1.0, seed=4).spectrum
    stricter = TracyWidomEdge((1 + probability) / 2).select(spectrum)
    assert stricter.rank <= TracyWidomEdge(probability).select(spectrum).rank
