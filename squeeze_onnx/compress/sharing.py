"""Sites that read the same value through one left factor: measured for the allocator, and checked in a plan."""

from collections.abc import Sequence

import numpy as np

from squeeze_onnx.compress.allocators import Candidate, Sharing
from squeeze_onnx.compress.factoring import by_left, loss_scales
from squeeze_onnx.compress.methods import METHODS, WeightingOf
from squeeze_onnx.compress.plan import Plan, PlannedSite, break_even_rank
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.shared_rows import find_projections, read_the_same
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.decompositions import singular_values
from squeeze_onnx.support.errors import OptionError


def measure_sharings(spectra: Sequence[SiteSpectra], weighting_of: WeightingOf) -> tuple[Sharing, ...]:
    """Measure what one left factor for query, key and value, or two of them, would lose where they read the same value.

    The sensitivities in ``spectra`` have been probed. Each weight is scaled so that its squared error is its damage to the
    model's output; of the weights side by side, Σ_{k>r} s_k² is the damage of rank r.
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


def check_sharing(sites: Sequence[MatMulSite], plan: Plan) -> None:
    """Raise OptionError, naming the site, unless left factors are shared in ``plan`` as ``sites`` (same order) allow."""
    by_name = {planned.name: site for site, planned in zip(sites, plan.sites, strict=True)}
    for group in by_left(plan.sites, lambda planned: planned):
        if any(planned.shares_left for planned in group):
            if METHODS[plan.method].fisher is not None:
                raise OptionError(
                    f'the plan gives site {group[0].name} a "shares_left", but method {plan.method} sees each site in a metric '
                    "of its own outputs: set it to null"
                )
            _check_group(group, [by_name[planned.name] for planned in group])


def _check_group(group: Sequence[PlannedSite], sites: Sequence[MatMulSite]) -> None:
    first, *others = sorted(group, key=lambda planned: planned.name != planned.left)
    if not others:
        raise OptionError(
            f'the plan gives site {first.name} the "shares_left" {first.left}, but no other site of the plan has it: '
            "set it to null"
        )
    for planned in others:
        if first.name != first.left or first.shares_left is None:
            raise OptionError(
                f'the plan gives site {planned.name} the "shares_left" {planned.left}, so that site needs the same entry'
            )
        if planned.rank != first.rank:
            raise OptionError(
                f"the plan gives site {planned.name} rank {planned.rank} and {first.name} rank {first.rank}, but they share "
                'their left factor: give all of them one rank, or set "shares_left" to null'
            )
    if not read_the_same(sites):
        names = " and ".join(planned.name for planned in others)
        raise OptionError(
            f"the plan lets site {first.name} share its left factor with {names}, but they do not read the same value: set "
            '"shares_left" to null'
        )
    largest = break_even_rank(sites[0].in_features, sum(site.out_features for site in sites))
    if first.rank is None or first.rank > largest:
        raise OptionError(
            f"the plan gives site {first.name} rank {first.rank} with a left factor that {len(group)} sites share; above "
            f"rank {largest} that is larger than the dense weights"
        )
