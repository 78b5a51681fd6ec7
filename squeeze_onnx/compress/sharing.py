"""Sites that read the same value through one left factor: measured for the allocator."""

from collections.abc import Sequence

import numpy as np

from squeeze_onnx.compress.allocators import Candidate, Sharing
from squeeze_onnx.compress.methods import WeightingOf
from squeeze_onnx.compress.planned_site import break_even_rank
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.truncation import loss_scales
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.shared_rows import find_projections
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.decompositions import singular_values


def measure_sharings(spectra: Sequence[SiteSpectra], weighting_of: WeightingOf) -> tuple[Sharing, ...]:
    """Measure what one left factor for query, key and value, or two of them, would lose where they read the same value.

    The sensitivities in ``spectra`` have been probed. Each weight is scaled so that its squared error is what it does to the
    model's output; of the weights side by side, Σ_{k>r} s_k² is the output error of rank r.
    """
    candidates = {measured.site.name: measured.candidate for measured in spectra}
    groups = find_projections([measured.site for measured in spectra])
    return tuple(_measure(group, [candidates[site.name] for site in group], weighting_of) for group in groups)


def _measure(sites: Sequence[MatMulSite], candidates: Sequence[Candidate], weighting_of: WeightingOf) -> Sharing:
    seen = [weighting_of(site).apply(read_weight(site)).matrix for site in sites]
    scales = loss_scales(seen, [candidate.sensitivity for candidate in candidates])
    energy = np.square(singular_values(np.hstack([scale * matrix for scale, matrix in zip(scales, seen, strict=True)])))
    after = tuple((site.name, site.out_features) for site in sites)
    largest = break_even_rank(sites[0].in_features, sum(size for _, size in after))
    lost = energy[::-1].cumsum()  # by the last k components
    return Sharing(sites[0].in_features, after, lost[-largest - 1 : -1])
