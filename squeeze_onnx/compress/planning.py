"""The plan stage: spectra in, what becomes of every eligible site out. A saved plan is checked against the model here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from squeeze_onnx.compress.allocators import Allocator, Choice, RemovalChoice, ShareChoice, SliceChoice
from squeeze_onnx.compress.config import AboveBreakEven
from squeeze_onnx.compress.forms import FORMS, Removed, SharedLeft, Sliced, form_of_rank
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.precision import PRECISIONS
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.graph.match.sites import MatMulSite, SkippedSite
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.suggestions import did_you_mean

_HELD = "stored in"
"""How the reason of a weight goes on that stays because integers are smaller than factors of floats."""

_SLACK = 0.02
"""How much more than the budget may stay without a word."""


def make_plan(
    spectra: Sequence[SiteSpectra],
    allocator: Allocator,
    *,
    method: str,
    budget: Mapping[str, Any],
    above_break_even: AboveBreakEven,
    skipped: Sequence[SkippedSite],
) -> Plan:
    """Let ``allocator`` choose the ranks and write down what follows for each site, in graph order.

    Raises OptionError if ``budget`` keeps less than rank 1 everywhere takes, or cannot be kept because weights are integers now
    and factors of floats would take more bytes.
    """
    _check_budget([measured.site for measured in spectra], budget)
    choices = allocator.allocate([measured.candidate for measured in spectra])
    sites = tuple(
        replace(
            _planned(measured, choices[measured.site.name], above_break_even),
            sensitivity=measured.candidate.sensitivity,
        )
        for measured in spectra
    )
    _check_integers(spectra, sites, budget)
    left_alone = tuple({"name": site.name, "reason": site.reason} for site in skipped)
    return Plan(method, budget, sites, left_alone)


def _check_budget(sites: Sequence[MatMulSite], budget: Mapping[str, Any]) -> None:
    """Raise OptionError for a budget of parameters that no plan fits in; another objective is its allocator's to check."""
    if "objective" in budget:
        return
    least = sum(site.in_features + site.out_features for site in sites) / sum(site.parameters for site in sites)
    if budget.get("keep", 1) < least:
        raise OptionError(
            f"`keep` {budget['keep']} is too little: rank 1 in every eligible weight takes {least:.4f} of their parameters"
        )


def _check_integers(spectra: Sequence[SiteSpectra], sites: Sequence[PlannedSite], budget: Mapping[str, Any]) -> None:
    """Raise OptionError if much more stays than ``budget`` says because integers are smaller than factors of floats."""
    held = [each.name for each, measured in zip(sites, spectra, strict=True) if _HELD in each.reason]
    kept = sum(site.kept_parameters for site in sites) / sum(site.dense_parameters for site in sites)
    if held and "objective" not in budget and kept > budget.get("keep", 1) + _SLACK:
        raise OptionError(
            f"`keep` {budget['keep']} would leave {kept:.2f}: {len(held)} weights, {held[0]} first, are stored in fewer "
            "bits than floats have, and factors would take more bytes; `precision` int8 rounds what is new, `dequantize` makes "
            "floats of integers"
        )


def _planned(measured: SiteSpectra, choice: Choice, above_break_even: AboveBreakEven) -> PlannedSite:
    site = measured.site
    if isinstance(choice, SliceChoice):
        whole = planned_site(site, None, choice.reason)
        return whole if choice.shape == whole.shape else replace(whole, form=Sliced(choice.shape))
    if isinstance(choice, RemovalChoice):
        return replace(planned_site(site, None, choice.reason), form=Removed())
    if isinstance(choice, ShareChoice):
        return replace(planned_site(site, None, choice.reason), form=SharedLeft(choice.rank, choice.first))
    return _truncated(measured, choice, above_break_even)


def _truncated(measured: SiteSpectra, choice: RankChoice, above_break_even: AboveBreakEven) -> PlannedSite:
    site = measured.site
    rank = max(choice.rank + measured.candidate.extra_rank, 1)
    if rank >= min(site.in_features, site.out_features):
        return planned_site(site, None, f"{choice.reason}: nothing to drop")
    if rank > site.break_even_rank and above_break_even == "denoise":
        return planned_site(site, rank, f"{choice.reason}: rank {rank} written back as one dense matrix")
    rank = max(rank - rank % measured.candidate.rank_step, measured.candidate.rank_step)
    if rank > site.break_even_rank:
        return planned_site(site, None, f"{choice.reason}: rank {rank} is above break-even ({site.break_even_rank})")
    entry_bytes = 1 if measured.candidate.rounded else site.weight.dtype.itemsize
    factor_bytes = rank * (site.in_features + site.out_features) * entry_bytes
    if factor_bytes >= site.weight.stored_bytes:
        return planned_site(
            site,
            None,
            f"{choice.reason}: {_HELD} {site.weight.stored_bytes} bytes, rank {rank} would need {factor_bytes:.0f}",
        )
    return planned_site(site, rank, choice.reason)


def planned_site(site: MatMulSite, rank: int | None, reason: str) -> PlannedSite:
    """Write down ``rank`` for ``site``: None leaves the weight as it is."""
    return PlannedSite(
        name=site.name,
        layer=site.layer,
        role=str(site.role),
        shape=(site.in_features, site.out_features),
        break_even_rank=site.break_even_rank,
        form=form_of_rank(rank, site.break_even_rank),
        reason=reason,
    )


def planned_sites_of(plan: Plan, sites: Sequence[MatMulSite]) -> tuple[MatMulSite, ...]:
    """Find the model's sites that ``plan`` speaks of, in the order of the plan.

    Raises OptionError if there are none, and naming the first site that stands in the plan twice, that this model lacks, that
    has another shape in it, or that cannot take the form or the precision the plan says.
    """
    if not plan.sites:
        raise OptionError("the plan names no site; give the plan.json of an earlier run")
    by_name = {site.name: site for site in sites}
    uses = Counter(planned.name for planned in plan.sites)
    for planned in plan.sites:
        if uses[planned.name] > 1:
            raise OptionError(f"the plan names the site {planned.name} {uses[planned.name]} times; keep one of them")
        site = by_name.get(planned.name)
        if site is None:
            raise OptionError(
                f"the plan names the site {planned.name}, which this model does not have; `analyze` lists its sites"
            )
        if (site.in_features, site.out_features) != planned.shape:
            raise OptionError(
                f"the plan has {planned.shape[0]} × {planned.shape[1]} for site {planned.name}, this model has "
                f"{site.in_features} × {site.out_features}; a plan fits models of the same architecture only"
            )
    _check_precision(plan.precision, tuple(by_name))
    found = tuple(by_name[planned.name] for planned in plan.sites)
    for form in FORMS:
        form.check(found, plan.sites, plan.method)
    return found


def _check_precision(planned: PlannedPrecision, names: tuple[str, ...]) -> None:
    """Raise OptionError for a weight kept in a higher precision that belongs to no site."""
    known = PRECISIONS.get(planned.name)
    if known is None or not known.rounds_rows:  # what fp16 keeps are nodes of the finished graph
        return
    for kept in planned.kept or ():
        if not kept.startswith(names):  # factors go by the name of their site and more
            meant = did_you_mean(kept, names)
            raise OptionError(
                f"the plan keeps {kept!r} in a higher precision, and no site of this model is called that{meant}"
            )
