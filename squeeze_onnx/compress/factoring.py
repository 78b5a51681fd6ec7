"""The rewrite stage: truncate each planned site, put the result into the graph, and measure what was lost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.methods import WeightingOf
from squeeze_onnx.compress.planned_site import Approximation, PlannedSite
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Decomposer, Factors
from squeeze_onnx.spectral.weightings import Weighting
from squeeze_onnx.support.progress import Track, silent

Job = TypeVar("Job")


@dataclass(frozen=True)
class _Group:
    """Sites that are carried out together, what is planned for each, and how they are seen."""

    sites: tuple[MatMulSite, ...]
    planned: tuple[PlannedSite, ...]
    weighting: Weighting


@dataclass(frozen=True, eq=False)
class Truncating:
    """How weights are truncated: the weighting through which each is seen, who decomposes it, and where what is new goes."""

    weighting_of: WeightingOf
    decomposer: Decomposer
    store: Store = in_memory
    track: Track = silent


def rewrite_sites(
    model: ir.Model, sites: Sequence[MatMulSite], plan: Sequence[PlannedSite], truncating: Truncating
) -> dict[str, TruncationErrors]:
    """Carry out ``plan`` (one entry per site, same order) on ``model``, which changes in place.

    Returns the errors of the sites that changed, by name.
    """
    todo = [job for job in zip(sites, plan, strict=True) if job[1].form.truncates]
    groups = [
        _Group(
            tuple(site for site, _ in jobs), tuple(planned for _, planned in jobs), truncating.weighting_of(jobs[0][0])
        )
        for jobs in by_group(todo, lambda job: job[1])
    ]
    errors: dict[str, TruncationErrors] = {}
    rewriter = Rewriter(model, truncating.store)
    truncate_each = partial(_truncate_group, decomposer=truncating.decomposer)
    truncated = truncating.track.map(truncate_each, groups, "Rewriting")
    for group, (found, lost) in zip(groups, truncated, strict=True):
        group.planned[0].form.put(rewriter, group.sites, found)
        errors |= {site.name: each for site, each in zip(group.sites, lost, strict=True)}
    return errors


def _truncate_group(
    group: _Group, decomposer: Decomposer
) -> tuple[Sequence[Approximation], Sequence[TruncationErrors]]:
    weights = [read_weight(site) for site in group.sites]
    found, errors = approximate_planned(weights, group.planned, group.weighting, decomposer)
    if group.planned[0].form.thin and group.sites[0].weight.dtype == ir.DataType.FLOAT:
        found = [_as_float32(each) for each in found]  # as they will be written: half as much to bring back
    return found, errors


def _as_float32(found: Approximation) -> Approximation:
    if not isinstance(found, Factors):
        return found
    with np.errstate(over="ignore"):  # Rewriter refuses what is not finite
        return Factors(found.left.astype(np.float32), found.right.astype(np.float32))


def by_group(jobs: Iterable[Job], planned: Callable[[Job], PlannedSite]) -> list[list[Job]]:
    """Put together the ``jobs`` whose sites are carried out together, given what is ``planned`` for each."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(planned(job).group, []).append(job)
    return list(groups.values())


def approximate_planned(
    weights: Sequence[np.ndarray], planned: Sequence[PlannedSite], weighting: Weighting, decomposer: Decomposer
) -> tuple[Sequence[Approximation], Sequence[TruncationErrors]]:
    """Let the form that is ``planned`` for a group of sites approximate their ``weights``."""
    return planned[0].form.approximate(weights, [each.sensitivity for each in planned], weighting, decomposer)
