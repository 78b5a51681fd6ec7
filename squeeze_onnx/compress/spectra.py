"""The spectra stage: read each weight once, see it through a weighting, and say what in it is signal."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from squeeze_onnx.compress.allocators import Candidate
from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.methods import WeightingOf
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.decompositions import singular_values
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.spectral.rmt.null_model import simulate_ks_distances
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.spectral.rmt.summary import SpectrumSummary, find_cut, summarize
from squeeze_onnx.spectral.weightings import Standardization, WeightedMatrix, Weighting
from squeeze_onnx.support.progress import Track, silent

SIMULATED_AT_ONCE = 9
"""Noise matrices in a task: a shape may be met once in a model, and several hands are to share its noise."""


@dataclass(frozen=True)
class SiteSpectra:
    """One site's spectra.

    ``summary`` judges the ``standardized`` weight against pure noise; ``candidate`` carries the spectrum of the weight as the
    method's own weighting sees it, for the allocator.
    """

    site: MatMulSite
    standardized: Spectrum
    summary: SpectrumSummary
    candidate: Candidate


@dataclass(frozen=True, eq=False)
class SiteView:
    """One site's ``weight`` (in, out) in float64 as it is, and as it is ``weighted`` by the method's own weighting."""

    site: MatMulSite
    weight: np.ndarray
    weighting: Weighting
    weighted: WeightedMatrix

    @classmethod
    def of(cls, site: MatMulSite, weighting: Weighting) -> Self:
        """Read the weight of ``site``."""
        weight = read_weight(site)
        return cls(site, weight, weighting, weighting.apply(weight))


def measure_spectra(
    sites: Sequence[MatMulSite], weighting_of: WeightingOf, config: AnalyzeConfig, track: Track = silent
) -> tuple[SiteSpectra, ...]:
    """Measure every site, one weight in memory at a time; sites are independent of each other."""
    distances = noise_distances(sites, config, track)
    seen = [(site, weighting_of(site), distances[site.name]) for site in sites]
    return tuple(track.map(partial(_measure, config=config), seen, "Spectra"))


def noise_distances(sites: Sequence[MatMulSite], config: AnalyzeConfig, track: Track = silent) -> dict[str, np.ndarray]:
    """Return how far noise of the shape of each site lies from its law, by site name; simulated once a shape."""
    shape_of = {site.name: _sorted_shape(site) for site in sites}
    parts = [
        (shape, range(start, min(start + SIMULATED_AT_ONCE, config.simulations)))
        for shape in dict.fromkeys(shape_of.values())
        for start in range(0, config.simulations, SIMULATED_AT_ONCE)
    ]
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for (shape, _), part in zip(parts, track.map(partial(_simulate, config=config), parts, "Noise"), strict=True):
        found.setdefault(shape, []).append(part)
    return {name: np.concatenate(found[shape]) for name, shape in shape_of.items()}


def _simulate(part: tuple[tuple[int, int], range], config: AnalyzeConfig) -> np.ndarray:
    shape, numbers = part
    return simulate_ks_distances(shape, NOISE_ESTIMATORS[config.noise](), numbers, seed=config.seed)


def _measure(seen: tuple[MatMulSite, Weighting, np.ndarray], config: AnalyzeConfig) -> SiteSpectra:
    site, weighting, distances = seen
    return measure_view(SiteView.of(site, weighting), distances, config)


def _sorted_shape(site: MatMulSite) -> tuple[int, int]:
    """Noise looks the same whichever way round it is."""
    smaller, larger = sorted((site.in_features, site.out_features))
    return smaller, larger


def measure_view(view: SiteView, distances: np.ndarray, config: AnalyzeConfig) -> SiteSpectra:
    """Measure one site; ``distances`` are those of noise of its shape, see `noise_distances`."""
    site = view.site
    noise = NOISE_ESTIMATORS[config.noise]()
    shape = (site.in_features, site.out_features)
    is_standardized = isinstance(view.weighting, Standardization)
    unweighted = view.weighted if is_standardized else Standardization().apply(view.weight)
    standardized = Spectrum(singular_values(unweighted.matrix), shape, "standardization")
    summary = summarize(standardized, noise, distances, probability=config.probability)
    if is_standardized:
        candidate = Candidate(site.name, standardized, summary.tw_edge, extra_rank=1)
    else:
        spectrum = Spectrum(singular_values(view.weighted.matrix), shape, type(view.weighting).__name__)
        edge = find_cut(spectrum, noise, config.probability).tw_edge
        candidate = Candidate(site.name, spectrum, edge, view.weighted.extra_rank)
    return SiteSpectra(site, standardized, summary, candidate)
