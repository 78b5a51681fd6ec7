"""The refit stage: sites in graph order, each regressed on what the squeezed part of the model before it returns.

The dense model and the squeezed one run side by side, part by part; every part runs once, so the whole costs two forward
passes over the calibration data. What a site reads in both, and how far the residual stream it adds to has drifted, is all
that `squeeze_onnx.spectral.regression` needs. Dense sites of the plan are regressed too: they keep their size and mend what
others lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from squeeze_onnx.compress.factoring import Truncating, approximate_planned, rewrite_sites
from squeeze_onnx.compress.methods import NO_FISHER, refit_weighting
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.refit_moments import Job, RefitStage, StageSums
from squeeze_onnx.compress.removal import ConstantSums, Removal
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.match.consumers import find_bias, find_residual
from squeeze_onnx.graph.match.dataflow import joins
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, mixes, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.graph.rewrite.segments import ancestors, cut
from squeeze_onnx.runtime.part_run import PairRun, Values, only
from squeeze_onnx.spectral.decompositions import Decomposer
from squeeze_onnx.spectral.fisher_moments import Fisher
from squeeze_onnx.spectral.regression import RIDGE, Regression, normal_matrix, regress
from squeeze_onnx.spectral.weightings import Weighting
from squeeze_onnx.support.progress import silent


@dataclass(frozen=True, eq=False)
class Refitting:
    """What weights are regressed on: the ``dense`` model to come close to, and the text that both are run on.

    ``fisher`` by site name weighs the outputs of what is truncated, where it is known. The constants of ``removals`` are settled.
    """

    dense: ir.Model
    batches: Sequence[CalibrationBatch]
    fisher: Mapping[str, Fisher] = field(default_factory=lambda: NO_FISHER)
    ridge: float = RIDGE
    provider: str = "cpu"
    removals: Sequence[Removal] = ()


def refit_sites(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    plan: Sequence[PlannedSite],
    truncating: Truncating,
    refitting: Refitting,
) -> dict[str, TruncationErrors]:
    """Carry out ``plan`` (one entry per site, same order) on ``model``, which changes in place, with regressed weights.

    It may have lost columns and sublayers already. Lookups, tied weights and quantized weights that stay are not regressed.
    Returns the errors of sites whose rank changed, by name: for a regressed one those of its truncation, not of the regression.
    """
    dense, batches = refitting.dense, refitting.batches
    pairs = list(zip(sites, plan, strict=True))
    at_once = [pair for pair in pairs if not can_regress(*pair)]
    errors = rewrite_sites(
        model,
        [site for site, _ in at_once],
        [planned for _, planned in at_once],
        replace(truncating, track=silent),
    )
    whole = {site.name: site for site in find_sites(dense).sites}
    stages = _with_removals(
        model, _stages(model, [pair for pair in pairs if can_regress(*pair)], whole), refitting.removals
    )
    wanted = [stage.wanted for stage in stages]
    parts = list(
        zip(
            cut(dense.graph, [names for names, _ in wanted]),
            cut(model.graph, [names for _, names in wanted]),
            strict=True,
        )
    )
    before: list[Values] = [dict(batch.feeds) for batch in batches]
    after: list[Values] = [dict(batch.feeds) for batch in batches]
    for stage, (dense_part, part) in truncating.track(list(zip(stages, parts, strict=True)), "Refitting"):
        sums = stage.sums()
        with TemporaryDirectory() as folder:
            run = PairRun(
                (dense, model),
                (dense_part, part),
                (before[0], after[0]),
                Path(folder) / "parts.onnx",
                refitting.provider,
            )
            for index, batch in enumerate(batches):
                expected, found = run(before[index], after[index])
                sums.add(expected, found, batch.counted)
                before[index], after[index] = only(dense_part.kept, expected), only(part.kept, found)
        if isinstance(sums, ConstantSums):
            sums.settle()
        elif isinstance(stage, RefitStage):
            errors |= _regress(model, stage, sums, truncating, refitting)
    return errors


def _with_removals(
    model: ir.Model, stages: Sequence[RefitStage], removals: Sequence[Removal]
) -> list[RefitStage | Removal]:
    """Put ``removals`` between ``stages``, where they are in the graph."""
    order = {node: index for index, node in enumerate(model.graph)}
    merged: list[RefitStage | Removal] = [*stages]
    for removal in removals:
        later = (
            index
            for index, stage in enumerate(merged)
            if isinstance(stage, RefitStage) and order[stage.jobs[0].site.nodes[0]] > order[removal.join]
        )
        merged.insert(next(later, len(merged)), removal)
    return merged


def _regress(
    model: ir.Model, stage: RefitStage, sums: StageSums, truncating: Truncating, refitting: Refitting
) -> dict[str, TruncationErrors]:
    """Regress the sites of ``stage`` on what was summed up of them; return the errors by name."""
    rewriter, errors = Rewriter(model, truncating.store), dict[str, TruncationErrors]()
    inputs = sums.inputs()
    normals = {
        centred: normal_matrix(inputs, centred=centred, ridge=refitting.ridge)
        for centred in {*map(_is_centred, stage.groups)}
    }
    for jobs in stage.groups:
        normal = normals[_is_centred(jobs)]
        # Sites that share a left factor are never weighed by their outputs (`squeeze_onnx.compress.sharing`): one asks for all.
        weighting = refit_weighting(normal.metric, refitting.fisher.get(jobs[0].site.name))
        regressions = [regress(read_weight(job.site), sums.target(job), normal) for job in jobs]
        errors |= _refit(rewriter, jobs, regressions, weighting, truncating.decomposer)
    return errors


def can_regress(site: MatMulSite, planned: PlannedSite) -> bool:
    """Whether ``site`` has one place in the graph, and float entries that may change."""
    if len(site.nodes) > 1 or WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup:
        return False
    return planned.form.truncates or not site.weight.decoding


def _stages(
    model: ir.Model, pairs: Sequence[tuple[MatMulSite, PlannedSite]], dense: Mapping[str, MatMulSite]
) -> list[RefitStage]:
    meets = joins(model.graph, mixes)
    groups: dict[str, list[tuple[MatMulSite, PlannedSite]]] = {}
    for site, planned in pairs:
        groups.setdefault(str(rows_of(site.nodes[0]).name), []).append((site, planned))
    pending = {site.nodes[0] for site, _ in pairs}
    stages = []
    for rows_name, group in groups.items():
        jobs = []
        for site, planned in group:
            stream = find_residual(site, meets)
            # A stream that waits for weights still to come has no drift yet.
            residual = None if stream is None or pending & ancestors(stream) else str(stream.name)
            jobs.append(Job(site, dense[site.name], planned, find_bias(site), residual))
        stages.append(RefitStage(rows_name, tuple(jobs)))
        pending -= {site.nodes[0] for site, _ in group}
    return stages


def _is_centred(jobs: Sequence[Job]) -> bool:
    """Whether biases take up all means, so that what ``jobs`` are fitted to is about them."""
    return all(job.bias is not None for job in jobs)


def _refit(
    rewriter: Rewriter,
    jobs: Sequence[Job],
    regressions: Sequence[Regression],
    weighting: Weighting,
    decomposer: Decomposer,
) -> dict[str, TruncationErrors]:
    """Put what was regressed in the place of ``jobs``, a group of sites that are carried out together."""
    sites, planned = [job.site for job in jobs], [job.planned for job in jobs]
    weights = [regression.weight for regression in regressions]
    found, lost = approximate_planned(weights, planned, weighting, decomposer)
    planned[0].form.put(rewriter, sites, found)
    for job, regression, each in zip(jobs, regressions, found, strict=True):
        if job.bias is not None:
            rewriter.shift_bias(job.site, job.bias, regression.bias_shift(each.product()))
    return {site.name: each for site, each in zip(sites, lost, strict=False)}  # no errors of what was not truncated
