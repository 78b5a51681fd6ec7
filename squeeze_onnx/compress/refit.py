"""The refit stage: sites in graph order, each regressed on what the squeezed part of the model before it returns.

The dense model and the squeezed one run side by side, part by part; every part runs once, so the whole costs two forward
passes over the calibration data. What a site reads in both, and how far the residual stream it adds to has drifted, is all
that `squeeze_onnx.spectral.regression` needs. Dense sites of the plan are regressed too: they keep their size and mend what
others lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.factoring import TruncationErrors, by_left, put_factors, rewrite_sites, truncate_planned
from squeeze_onnx.compress.methods import NO_FISHER, WeightingOf, refit_weighting
from squeeze_onnx.compress.plan import PlannedSite
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.consumers import Bias, find_bias, find_residual
from squeeze_onnx.graph.match.dataflow import joins
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, mixes, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.graph.rewrite.segments import ancestors, cut
from squeeze_onnx.runtime.part_run import PartRun, Values, only
from squeeze_onnx.spectral.decompositions import Decomposer
from squeeze_onnx.spectral.fisher_moments import Fisher
from squeeze_onnx.spectral.moment_sums import Counted, rows_of_features
from squeeze_onnx.spectral.regression import (
    RIDGE,
    DriftMoments,
    InputMoments,
    NormalMatrix,
    Regression,
    normal_matrix,
    regress,
)
from squeeze_onnx.spectral.weightings import Weighting
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent

BLOCK_TOKENS = 4096
"""How many rows are multiplied at once."""


@dataclass(frozen=True)
class _Job:
    """A site of the model to squeeze, what becomes of it, and what its product is added to.

    ``dense`` is the same site in the dense model; it is larger on a side where columns were taken out.
    """

    site: MatMulSite
    dense: MatMulSite
    planned: PlannedSite
    bias: Bias | None
    residual: str | None


@dataclass(frozen=True)
class _Stage:
    """Sites that read the same value, and so can be regressed at once."""

    rows: str
    jobs: tuple[_Job, ...]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The values to watch: the rows, and the residual streams."""
        residuals = (job.residual for job in self.jobs if job.residual is not None)
        return tuple(dict.fromkeys((self.rows, *residuals)))

    @property
    def groups(self) -> list[list[_Job]]:
        """The jobs, those together that share a left factor."""
        return by_left(self.jobs, lambda job: job.planned)


def refit_sites(
    model: ir.Model,
    dense: ir.Model,
    sites: Sequence[MatMulSite],
    plan: Sequence[PlannedSite],
    batches: Sequence[CalibrationBatch],
    *,
    weighting_of: WeightingOf,
    decomposer: Decomposer,
    ridge: float = RIDGE,
    fisher: Mapping[str, Fisher] = NO_FISHER,
    provider: str = "cpu",
    store: Store = in_memory,
    track: Track = silent,
) -> dict[str, TruncationErrors]:
    """Carry out ``plan`` (one entry per site, same order) on ``model``, which changes in place, with regressed weights.

    These go to ``store``. ``dense`` is the model to come close to; in ``model`` it may have lost columns already. ``fisher`` by
    site name weighs the outputs of what is truncated, where it is known. Lookups, tied weights and quantized weights that stay
    are not regressed. Returns the errors of the sites whose rank changed, by name: for a regressed one
    those of its truncation, not of the regression.
    """
    pairs = list(zip(sites, plan, strict=True))
    at_once = [pair for pair in pairs if not _can_regress(*pair)]
    errors = rewrite_sites(
        model,
        [site for site, _ in at_once],
        [planned for _, planned in at_once],
        weighting_of,
        decomposer=decomposer,
        store=store,
    )
    whole = {site.name: site for site in find_sites(dense).sites}
    stages = _stages(model, [pair for pair in pairs if _can_regress(*pair)], whole)
    wanted = [stage.wanted for stage in stages]
    parts = list(zip(cut(dense.graph, wanted), cut(model.graph, wanted), strict=True))
    rewriter = Rewriter(model, store)
    before: list[Values] = [dict(batch.feeds) for batch in batches]
    after: list[Values] = [dict(batch.feeds) for batch in batches]
    for stage, (dense_part, part) in track(list(zip(stages, parts, strict=True)), "Refitting"):
        sums = _Sums(stage)
        with TemporaryDirectory() as folder:
            run_dense = PartRun(dense, dense_part, before[0], Path(folder) / "dense.onnx", provider)
            run_squeezed = PartRun(model, part, after[0], Path(folder) / "squeezed.onnx", provider)
            for index, batch in enumerate(batches):
                expected, found = run_dense(before[index]), run_squeezed(after[index])
                sums.add(expected, found, batch.counted)
                before[index], after[index] = only(dense_part.kept, expected), only(part.kept, found)
        inputs = sums.inputs()
        normals = {
            centred: normal_matrix(inputs, centred=centred, ridge=ridge)
            for centred in {*map(_is_centred, stage.groups)}
        }
        for jobs in stage.groups:
            normal = normals[_is_centred(jobs)]
            # Sites that share a left factor are never weighed by their outputs (`squeeze_onnx.compress.sharing`): one asks for
            # all.
            weighting = refit_weighting(normal.metric, fisher.get(jobs[0].site.name))
            regressions = [_regress(job, normal, sums.drift(job)) for job in jobs]
            errors |= _refit(rewriter, jobs, regressions, weighting, decomposer)
    return errors


def _can_regress(site: MatMulSite, planned: PlannedSite) -> bool:
    """Whether ``site`` has one place in the graph, and float entries that may change."""
    if len(site.nodes) > 1 or WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup:
        return False
    return planned.rank is not None or not site.weight.decoding


def _stages(
    model: ir.Model, pairs: Sequence[tuple[MatMulSite, PlannedSite]], dense: Mapping[str, MatMulSite]
) -> list[_Stage]:
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
            jobs.append(_Job(site, dense[site.name], planned, find_bias(site), residual))
        stages.append(_Stage(rows_name, tuple(jobs)))
        pending -= {site.nodes[0] for site, _ in group}
    return stages


class _Sums:
    """The moments of one stage, streamed block by block, in float64, padding excluded."""

    def __init__(self, stage: _Stage) -> None:
        self._stage = stage
        self._tokens = 0
        self._sums: dict[str, np.ndarray] = {}
        self._block: list[dict[str, np.ndarray]] = []

    def add(self, dense: Values, squeezed: Values, counted: Counted) -> None:
        """Take in the values of one batch."""
        name = self._stage.rows
        rows = {"dense": _rows(dense[name], counted), "squeezed": _rows(squeezed[name], counted)}
        for name in self._stage.wanted[1:]:
            drift = _rows(dense[name], counted) - _rows(squeezed[name], counted)
            if len(drift) == len(rows["dense"]):  # else it is broadcast to the product: no row of it is one row's drift
                rows[_drift(name)] = drift
        self._block.append(rows)
        if sum(len(each["dense"]) for each in self._block) >= BLOCK_TOKENS:
            self._sum_block()

    def _sum_block(self) -> None:
        """Multiply many rows at once: a product for each batch would spend its time on adding up large matrices."""
        if not self._block:
            return
        block = {name: np.concatenate([each[name] for each in self._block]) for name in self._block[0]}
        self._block = []
        seen = block.pop("squeezed")
        self._tokens += len(seen)
        self._add("gram", seen.T @ seen)  # NumPy leaves this to a symmetric product
        self._add("squeezed mean", seen.sum(axis=0))
        for name, rows in block.items():
            self._add(f"{name}: cross", seen.T @ rows)
            self._add(f"{name}: mean", rows.sum(axis=0))

    def inputs(self) -> InputMoments:
        """Return the moments of what the stage reads."""
        self._sum_block()
        return InputMoments(
            self._mean("gram"), self._mean("dense: cross"), self._mean("squeezed mean"), self._mean("dense: mean")
        )

    def drift(self, job: _Job) -> DriftMoments | None:
        """Return the moments of the drift that ``job`` is to undo."""
        self._sum_block()
        drift = _drift(job.residual)
        if f"{drift}: cross" not in self._sums or self._sums[f"{drift}: mean"].size != job.site.out_features:
            return None
        return DriftMoments(self._mean(f"{drift}: cross"), self._mean(f"{drift}: mean"))

    def _add(self, name: str, term: np.ndarray) -> None:
        if name in self._sums:
            self._sums[name] += term
        else:
            self._sums[name] = term

    def _mean(self, name: str) -> np.ndarray:
        mean: np.ndarray = self._sums[name] / max(self._tokens, 1)
        if not np.isfinite(mean).all():
            raise ModelError(
                f"what node {self._stage.jobs[0].site.name} reads is NaN or infinite on the calibration data: check the "
                "weights before it, or squeeze without --refit"
            )
        return mean


def _is_centred(jobs: Sequence[_Job]) -> bool:
    """Whether biases take up all means, so that what ``jobs`` are fitted to is about them."""
    return all(job.bias is not None for job in jobs)


def _refit(
    rewriter: Rewriter,
    jobs: Sequence[_Job],
    regressions: Sequence[Regression],
    weighting: Weighting,
    decomposer: Decomposer,
) -> dict[str, TruncationErrors]:
    """Put what was regressed in the place of ``jobs``, which share a left factor or are one site that does not."""
    sites, planned = [job.site for job in jobs], [job.planned for job in jobs]
    weights = [regression.weight for regression in regressions]
    errors: dict[str, TruncationErrors] = {}
    if planned[0].rank is None:
        rewriter.replace(sites[0], weights[0])
    else:
        factors, lost = truncate_planned(weights, planned, weighting, decomposer)
        put_factors(rewriter, sites, planned, factors)
        errors = {site.name: each for site, each in zip(sites, lost, strict=True)}
        weights = [each.product() for each in factors]
    for job, regression, weight in zip(jobs, regressions, weights, strict=True):
        if job.bias is not None:
            rewriter.shift_bias(job.site, job.bias, regression.bias_shift(weight))
    return errors


def _regress(job: _Job, normal: NormalMatrix, drift: DriftMoments | None) -> Regression:
    weight = read_weight(job.site)
    # Where columns were taken out of a site, those that stay are to do what they did; before it, the rest stand in for all.
    target = read_weight(job.dense) if job.dense.out_features == job.site.out_features else weight
    return regress(weight, target, normal, drift)


def _rows(value: np.ndarray, counted: Counted) -> np.ndarray:
    """Return ``value`` with a row a token, in float64."""
    return rows_of_features(value, counted).astype(np.float64)


def _drift(stream: str | None) -> str:
    return f"drift of {stream}"
