"""Drafts: how many bytes a plan comes to, found by writing its graph with weights that are not worth anything."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.embedding_output.stage import bytes_of_output
from squeeze_onnx.compress.factoring import approximate_planned, by_group
from squeeze_onnx.compress.forms.removed import removed_sites
from squeeze_onnx.compress.forms.sliced import kept_shapes
from squeeze_onnx.compress.lowering import finish
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.compress.planned_site import Approximation, PlannedSite
from squeeze_onnx.compress.refit import can_regress
from squeeze_onnx.compress.removal import remove_sublayers
from squeeze_onnx.compress.slicing import slice_sites
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.consumers import find_bias
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.removal import fold_constants
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Automatic, Factors
from squeeze_onnx.spectral.weightings import Identity
from squeeze_onnx.support.stopwatch import Stopwatch


@dataclass(frozen=True)
class Draft:
    """A model as it would be written: its ``bytes``, and how far rounding moves its outputs, None where that was not measured."""

    bytes: int
    rounding: float | None = None


def draft_dense(context: Context, precision: str) -> Draft:
    """Lower the dense model to ``precision``, all of it, and measure how far its outputs move on the calibration data."""
    planned = PlannedPrecision(precision, kept=())
    return _finished(context, OnnxModel(context.dense.path, context.dense.ir.clone()), planned)


def draft_plan(context: Context, plan: Plan, survey: Survey, precision: PlannedPrecision) -> Draft:
    """Write what ``plan`` comes to in ``precision``, none higher than it keeps; only its bytes mean anything."""
    model = OnnxModel(context.dense.path, context.dense.ir.clone())
    gone = removed_sites(plan.sites)
    remove_sublayers(model.ir, gone, survey.moments)
    left = replace(plan, sites=tuple(planned for planned in plan.sites if planned.name not in gone))
    slice_sites(model.ir, _sites_of(left, model), kept_shapes(left.sites), survey.blocks, shift_biases=False)
    _put_anything(model, _sites_of(left, model), left)
    if gone:
        fold_constants(model.ir)
    return replace(_finished(replace(context, batches=()), model, precision), rounding=None)


def _finished(context: Context, model: OnnxModel, precision: PlannedPrecision) -> Draft:
    asked = replace(context, config=replace(context.config, precision=precision.name))
    planned = replace(precision, kept=precision.kept or ())
    finished = finish(asked, model, Plan("", {}, (), precision=planned), clock=Stopwatch())
    return Draft(finished.precision["bytes"]["after"] + bytes_of_output(context), finished.precision["damage"])


def _put_anything(model: OnnxModel, sites: Sequence[MatMulSite], plan: Plan) -> None:
    """Put factors of the planned shapes into ``model``, and biases where a refit does: computing them would take the time."""
    rewriter, random = Rewriter(model.ir), np.random.default_rng(0)
    jobs_of_refit = [job for job in zip(sites, plan.sites, strict=True) if plan.refit and can_regress(*job)]
    biases = [(site, bias) for site, _ in jobs_of_refit if (bias := find_bias(site)) is not None]
    for site, planned in jobs_of_refit:
        if not planned.form.truncates:
            rewriter.replace(site, read_weight(site))
    todo = [job for job in zip(sites, plan.sites, strict=True) if job[1].form.truncates]
    for jobs in by_group(todo, lambda job: job[1]):
        together, fates = [site for site, _ in jobs], [each for _, each in jobs]
        fates[0].form.put(rewriter, together, _anything(together, fates, random))
    for site, bias in biases:
        rewriter.shift_bias(site, bias, np.zeros(site.out_features))


def _anything(
    sites: Sequence[MatMulSite], planned: Sequence[PlannedSite], random: np.random.Generator
) -> Sequence[Approximation]:
    """Return factors of the rank that is planned, or what the form makes of the weights if it is no matter of rank."""
    rank = planned[0].rank
    if rank is None:
        return approximate_planned([read_weight(site) for site in sites], planned, Identity(), Automatic())[0]
    left = random.standard_normal((sites[0].in_features, rank), np.float32)
    return [Factors(left, random.standard_normal((rank, site.out_features), np.float32)) for site in sites]


def _sites_of(plan: Plan, model: OnnxModel) -> tuple[MatMulSite, ...]:
    found = {site.name: site for site in find_sites(model.ir).sites}
    return tuple(found[planned.name] for planned in plan.sites)
