"""What the refit sums up of a stage, block by block: moments of what its sites read, and of what they are to return."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from squeeze_onnx.compress.factoring import by_group
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.consumers import Bias
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.runtime.part_run import Values
from squeeze_onnx.spectral.moment_sums import Counted, rows_of_features
from squeeze_onnx.spectral.regression import CrossMoments, InputMoments, target_of
from squeeze_onnx.spectral.tall_products import BLOCK_TOKENS, CrossBlocks, GramBlocks
from squeeze_onnx.support.errors import ModelError


@dataclass(frozen=True)
class Job:
    """A site of the model to squeeze, what becomes of it, and what its product is added to.

    ``dense`` is the same site in the dense model; it is larger on a side where columns were taken out.
    """

    site: MatMulSite
    dense: MatMulSite
    planned: PlannedSite
    bias: Bias | None
    residual: str | None

    @property
    def target(self) -> np.ndarray:
        """The weight W (dense in, out) whose products it is to return.

        Where columns were taken out of a site, those that stay are to do what they did; before it, the rest stand in for all.
        """
        return read_weight(self.dense if self.dense.out_features == self.site.out_features else self.site)


@dataclass(frozen=True)
class RefitStage:
    """Sites that read the same value, and so can be regressed at once."""

    rows: str
    jobs: tuple[Job, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The values to watch: the rows, and the residual streams."""
        residuals = (job.residual for job in self.jobs if job.residual is not None)
        return tuple(dict.fromkeys((self.rows, *residuals)))

    @property
    def wanted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The values to watch in the dense model and in the squeezed one."""
        return self.values, self.values

    def sums(self) -> "StageSums":
        """Return what sums them up."""
        return StageSums(self)

    @property
    def groups(self) -> list[list[Job]]:
        """The jobs, those together that are carried out together."""
        return by_group(self.jobs, lambda job: job.planned)


@dataclass(frozen=True)
class _Block:
    """Rows of the tokens that count: what is read in the squeezed and in the dense model, and the drift of each stream."""

    squeezed: np.ndarray
    dense: np.ndarray
    drift: Mapping[str, np.ndarray]


class StageSums:
    """The moments of one stage, in float64, padding excluded.

    What the sites are to return, X W + D, is summed itself where that is narrower than X, as behind a feed-forward block.
    Elsewhere X and D are.
    """

    def __init__(self, stage: RefitStage) -> None:
        self._stage = stage
        self._tokens = 0
        self._waiting: list[_Block] = []
        self._gram: GramBlocks | None = None
        self._sums: dict[str, CrossBlocks] = {}

    def add(self, dense: Values, squeezed: Values, counted: Counted) -> None:
        """Take in the values of one batch."""
        name = self._stage.rows
        seen, expected = _rows(squeezed[name], counted), _rows(dense[name], counted)
        drift = {}
        for stream in self._stage.values[1:]:
            rows = _rows(dense[stream], counted) - _rows(squeezed[stream], counted)
            if len(rows) == len(seen):  # else it is broadcast to the product: no row of it is one row's drift
                drift[stream] = rows
        self._waiting.append(_Block(seen, expected, drift))
        if sum(len(block.dense) for block in self._waiting) >= BLOCK_TOKENS:
            self._sum_up()

    def inputs(self) -> InputMoments:
        """Return the moments of what the stage reads."""
        self._sum_up()
        assert self._gram is not None, "a batch was taken in"
        return InputMoments(self._mean(self._gram.gram()), self._mean(self._gram.total))

    def target(self, job: Job) -> CrossMoments:
        """Return the moments of what ``job`` is to return."""
        self._sum_up()
        if self._narrow:
            return self._moments(job.site.name)
        drift = self._moments(job.residual) if job.residual is not None and self._fits(job) else None
        return target_of(self._moments(self._stage.rows), job.target, drift)

    @cached_property
    def _narrow(self) -> bool:
        """Whether all that the sites return is narrower than what they read."""
        jobs = self._stage.jobs
        return sum(job.site.out_features for job in jobs) < jobs[0].dense.in_features

    @cached_property
    def _targets(self) -> dict[str, np.ndarray]:
        """The weights that the dense model has, by the name of the site."""
        return {job.site.name: job.target.astype(np.float32) for job in self._stage.jobs}

    def _fits(self, job: Job) -> bool:
        """Whether there is a drift, and it is one of what ``job`` returns."""
        sums = self._sums.get(str(job.residual))
        return sums is not None and sums.total.size == job.site.out_features

    def _sum_up(self) -> None:
        """Multiply many rows at once: a product for each batch would spend its time on adding up large matrices."""
        if not self._waiting:
            return
        blocks, self._waiting = self._waiting, []
        seen = np.concatenate([block.squeezed for block in blocks])
        dense = np.concatenate([block.dense for block in blocks])
        streams = [stream for stream in blocks[0].drift if all(stream in block.drift for block in blocks)]
        drift = {stream: np.concatenate([block.drift[stream] for block in blocks]) for stream in streams}
        self._tokens += len(seen)
        if self._gram is None:
            self._gram = GramBlocks(seen.shape[1])
        self._gram.add(seen)
        for name, rows in self._wanted(dense, drift):
            if name not in self._sums:
                self._sums[name] = CrossBlocks(seen.shape[1], rows.shape[1])
            self._sums[name].add(seen, rows)

    def _wanted(self, dense: np.ndarray, drift: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield what is to be multiplied with what the squeezed model reads, and its name."""
        if not self._narrow:
            yield self._stage.rows, dense
            yield from drift.items()
            return
        for job in self._stage.jobs:
            rows = dense @ self._targets[job.site.name]
            undone = drift.get(str(job.residual))
            fits = undone is not None and undone.shape == rows.shape
            yield job.site.name, rows + undone if fits else rows

    def _moments(self, name: str) -> CrossMoments:
        sums = self._sums[name]
        return CrossMoments(self._mean(sums.cross), self._mean(sums.total))

    def _mean(self, total: np.ndarray) -> np.ndarray:
        mean: np.ndarray = total / max(self._tokens, 1)
        if not np.isfinite(mean).all():
            raise ModelError(
                f"what node {self._stage.jobs[0].site.name} reads is NaN or infinite on the calibration data: check the "
                "weights before it, or squeeze without `refit`"
            )
        return mean


def _rows(value: np.ndarray, counted: Counted) -> np.ndarray:
    """Return ``value`` with a row a token, in float32 at least."""
    rows = rows_of_features(value, counted)
    return rows.astype(np.result_type(rows, np.float32), copy=False)
