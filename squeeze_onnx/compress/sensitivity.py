"""How much each site matters: truncate it alone, run the model, and see how far its outputs move.

No gradient and no label is needed. A site's output error D at its probe rank, over the relative squared error e of its own output
there, is its sensitivity: to second order the output error of any other rank is sensitivity · e(rank), and output errors add up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.allocators import Uniform
from squeeze_onnx.compress.spectra import SiteSpectra, SiteView
from squeeze_onnx.compress.truncation import truncate_weighted
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.counted_outputs import counted_outputs
from squeeze_onnx.evaluate.output_error import OutputErrorMeter, probe_batches
from squeeze_onnx.graph.match.operators import rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.perturbation import open_to_perturbation
from squeeze_onnx.graph.rewrite.segments import Segment, cut, extract
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.spectral.decompositions import Decomposer

PROBE_KEEP = 0.5
"""The fraction of its parameters that a probed site keeps."""


def probe_sensitivity(
    prober: "Prober", view: SiteView, spectra: SiteSpectra, probe: Uniform, decomposer: Decomposer
) -> SiteSpectra:
    """Return ``spectra`` with the sensitivity of the candidate, measured at the rank that ``probe`` gives it.

    A site that loses nothing at its probe rank has sensitivity 0: it can be cut there for free.
    """
    candidate = spectra.candidate
    rank = probe.allocate([candidate])[candidate.name].rank
    factors, errors = truncate_weighted(view.weight, view.weighted, max(rank + candidate.extra_rank, 1), decomposer)
    error = errors.weighted_error**2
    output_error = prober.output_error(view.site.name, factors.product() - view.weight) if error > 0 else 0.0
    return replace(spectra, candidate=replace(candidate, sensitivity=output_error / error if error > 0 else 0.0))


class Prober:
    """Disturbs a weight behind one of ``starts`` of a model, which stays as it is, and sees the outputs move.

    Only what lies behind the layer of that weight is run. The rest of the model is opened once a layer, so ask layer by layer.
    ``batches`` are those of `run_to_starts`; ``head`` says how the outputs are read, if it is known.
    """

    def __init__(
        self,
        model: ir.Model,
        starts: Sequence["Start"],
        batches: Sequence[CalibrationBatch],
        provider: str = "cpu",
        head: Head | None = None,
    ) -> None:
        self._head = head
        self._model = model
        self._provider = provider
        self._starts = {site.name: start for start in starts for site in start.sites}
        self._batches = batches
        self._rest: _Rest | None = None

    @property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """The names of the sites that are disturbed in the same opened part, part by part."""
        starts = dict.fromkeys(self._starts.values())
        return tuple(tuple(site.name for site in start.sites) for start in starts)

    def output_error(self, site: str, change: np.ndarray) -> float:
        """Return the output error (see `OutputErrorMeter`) if ``change`` (in, out) is added to the weight of ``site``."""
        start = self._starts[site]
        if not start.part.outputs:  # all that counts comes before it
            return 0.0
        if self._rest is None or self._rest.start is not start:
            self._rest = None  # one open at a time
            self._rest = _Rest(self._model, start, self._batches, self._provider, self._head)
        return self._rest.output_error(site, change)


@dataclass(frozen=True, eq=False)
class Start:
    """Where a run can start: the sites behind it that are disturbed from here, and the part of the graph that is left to run.

    answers: how many outputs the whole graph has that count.
    """

    sites: tuple[MatMulSite, ...]
    part: Segment
    answers: int


def find_starts(model: ir.Model, sites: Sequence[MatMulSite], answer: str | None = None) -> tuple[Start, ...]:
    """Return a start a layer, before the first node that one of its sites has in the graph.

    ``answer`` names the output that counts; None for those of `counted_outputs`.
    """
    order = {node: index for index, node in enumerate(model.graph)}

    def first(site: MatMulSite) -> int:
        return min(order[node] for node in site.nodes)

    outputs = counted_outputs(model.graph, answer)
    starts = []
    for _, layer in groupby(sorted(sites, key=first), key=lambda site: site.layer):
        group = tuple(layer)
        node = min(group[0].nodes, key=order.__getitem__)
        _, rest = cut(model.graph, [[str(rows_of(node).name)], outputs])
        starts.append(Start(group, rest, len(outputs)))
    return tuple(starts)


def values_of_starts(model: ir.Model, starts: Iterable[Start]) -> tuple[str, ...]:
    """Return the names of the values from which ``starts`` go on, beside the inputs of ``model``."""
    inputs = {str(value.name) for value in model.graph.inputs}
    return tuple(sorted({name for start in starts for name in start.part.inputs} - inputs))


def run_to_starts(
    session: Session, values: Sequence[str], batches: Sequence[CalibrationBatch]
) -> list[CalibrationBatch]:
    """Return a few of ``batches`` with these ``values``, which ``session`` shows: from there probes go on."""
    chosen = probe_batches(batches)
    if not values:
        return chosen
    return [
        CalibrationBatch(
            {**batch.feeds, **dict(zip(values, session.run(values, batch.feeds), strict=True))}, batch.mask
        )
        for batch in chosen
    ]


class _Rest:
    """What lies behind a start, open, with its undisturbed outputs."""

    def __init__(
        self,
        model: ir.Model,
        start: Start,
        batches: Sequence[CalibrationBatch],
        provider: str,
        head: Head | None,
    ) -> None:
        types = {name: ir.DataType.from_numpy(batches[0].feeds[name].dtype) for name in start.part.inputs}
        rest = extract(model, start.part, types)
        opened = open_to_perturbation(rest, start.sites)
        self.start = start
        self._opened = opened
        read = [
            CalibrationBatch({name: batch.feeds[name] for name in start.part.inputs}, batch.mask) for batch in batches
        ]
        still = {opened.inputs[site]: np.zeros((1, 1), dtype=dtype.numpy()) for site, dtype in opened.dtypes.items()}
        self._meter = OutputErrorMeter(open_graph(rest, provider, part="a part"), read, still, head)
        self._share = len(start.part.outputs) / start.answers

    def output_error(self, site: str, change: np.ndarray) -> float:
        """See `Prober.output_error`; an output that does not lie behind the start does not move."""
        disturbance = {self._opened.inputs[site]: change.astype(self._opened.dtypes[site].numpy())}
        return self._share * self._meter.output_error(disturbance)
