"""Streaming Fisher information: one run of the graph and its adjoint over the text, nothing kept but sums.

ℓ is the negative log-likelihood of an answer drawn from the model's own distribution, so no label is needed, and E[∇ℓ ∇ℓᵀ] is
the Fisher information itself; with a data set's labels in place of the draw it would not be (Kunstner, Balles & Hennig 2019,
arXiv 1905.12558). One answer is drawn a sequence, and gradients are those of single sequences, never of a batch's mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.graph.match.operators import PACKED_ATTENTION, WEIGHT_OPERATORS, op_of, product_scale, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.learning.answer_shapes import ShapeOf, answer_shapes
from squeeze_onnx.learning.draws import DrawnLoss, drawn_loss
from squeeze_onnx.learning.fisher_sums import SUMS, FisherSum
from squeeze_onnx.learning.gradients import GradientGraph, differentiate_by_values
from squeeze_onnx.learning.losses import LOSS, LossGraph, attach_losses, counted_or_all
from squeeze_onnx.runtime.sessions import Session, SessionSettings
from squeeze_onnx.spectral.fisher_moments import Fisher
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent

TWO_WAYS = SessionSettings(prepacking=False)
"""How a graph and its adjoint are opened: both multiply by each weight, and packed for either it would be there three times."""


@dataclass(frozen=True)
class _Use:
    """One node that uses a weight: what it reads, the gradient by what it returns, its factor, and whether it picks rows."""

    rows: str
    gradient: str
    scale: float
    is_lookup: bool


@dataclass(frozen=True)
class FisherGraph:
    """A model and its adjoint, ready to run on ``batches``.

    Its ``losses`` are those of an answer that is drawn with ``seed``; ``uses`` says who uses which of ``sites``.
    """

    sites: Sequence[MatMulSite]
    batches: Sequence[CalibrationBatch]
    losses: LossGraph
    loss: DrawnLoss
    adjoint: GradientGraph
    uses: Mapping[str, Sequence[_Use]]
    shape_of: ShapeOf
    seed: int

    def wanted(self, *, rows: bool) -> tuple[str, ...]:
        """Return the values that are read of a run: gradients, and ``rows`` that weights meet."""
        uses = [use for each in self.uses.values() for use in each]
        used = [value for use in uses for value in ((use.gradient, use.rows) if rows else (use.gradient,))]
        return tuple(dict.fromkeys(used))

    def feeds(self, batch: CalibrationBatch, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return all inputs of the graph for ``batch``, with an answer drawn by ``rng``."""
        return _feeds(self.losses, self.loss, batch, self.shape_of(batch), rng)


def fisher_graph(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    batches: Sequence[CalibrationBatch],
    head: Head,
    session: Session,
    *,
    seed: int = 0,
) -> FisherGraph:
    """Differentiate what ``head`` answers by what ``sites`` return; runs next to nothing.

    ``head`` says which output is the answer, which ``session`` on ``model`` shows; ``seed`` draws from its distribution. Raises
    ModelError if the graph cannot be differentiated.
    """
    for site in sites:
        if any(op_of(node) == PACKED_ATTENTION for node in site.nodes):
            raise ModelError(
                f"{PACKED_ATTENTION} {site.name!r} multiplies with its weight inside an attention, so gradients of the product "
                "cannot be taken: squeeze the model before it is fused, or take `method` whiten"
            )
    loss = drawn_loss(head)
    losses = attach_losses(model, [loss])
    shape_of = answer_shapes(session, head.output, batches)
    products = [str(node.outputs[0].name) for site in sites for node in site.nodes]
    example = max(batches, key=_telling)
    fed = _feeds(losses, loss, example, shape_of(example), np.random.default_rng(seed))
    adjoint = differentiate_by_values(losses.model, products, LOSS, fed)
    return FisherGraph(sites, batches, losses, loss, adjoint, _uses(sites, adjoint), shape_of, seed)


def collect_fisher(
    graph: FisherGraph, kind: type[Fisher], *, provider: str = "cpu", track: Track = silent
) -> dict[str, Fisher]:
    """Return the Fisher information of ``kind`` at each site of ``graph``, by name, in one pass over its text, padding excluded.

    A tied weight counts all its uses. A site that the answer does not depend on is told from nothing: all that it returns matters
    alike. Raises ModelError if a gradient is not finite.
    """
    summing = SUMS[kind]
    sums: dict[str, FisherSum] = {site.name: summing(site) for site in graph.sites}
    wanted = graph.wanted(rows=summing.reads_rows)
    rng = np.random.default_rng(graph.seed)
    with session_showing(graph.adjoint.model, wanted, provider, TWO_WAYS) as session:
        for batch in track(graph.batches, "Fisher information"):
            values = dict(zip(wanted, session.run(wanted, graph.feeds(batch, rng)), strict=True))
            for name, each in graph.uses.items():
                seen = [_by_sequence(name, use, values, batch) for use in each]
                if len({len(counted) for _, _, counted in seen}) > 1:  # text, and what is the same for all of it
                    seen = [(_as_one_sequence(a), _as_one_sequence(b), _as_one_sequence(c)) for a, b, c in seen]
                if seen:
                    sums[name].add(*(np.concatenate(parts, axis=1) for parts in zip(*seen, strict=True)))
    return {name: sums.pop(name).fisher() for name in tuple(sums)}


def _feeds(
    losses: LossGraph, loss: DrawnLoss, batch: CalibrationBatch, shape: tuple[int, ...], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    fed = losses.feeds(batch, {loss.value: loss.draw(rng, shape)}, {loss.value: shape[:-1]})
    return {**batch.feeds, **fed}


def _uses(sites: Sequence[MatMulSite], adjoint: GradientGraph) -> dict[str, list[_Use]]:
    """Find the nodes that use each site in the graph of the gradients, where what they read may have got another name."""
    producers = {str(output.name): node for node in adjoint.model.graph for output in node.outputs}
    return {
        site.name: [
            _Use(
                str(rows_of(producers[product]).name),
                adjoint.gradients[product],
                product_scale(producers[product]),
                WEIGHT_OPERATORS[op_of(producers[product])].lookup,
            )
            for product in (str(node.outputs[0].name) for node in site.nodes)
            if product in adjoint.gradients  # else the answer does not depend on it
        ]
        for site in sites
    }


def _by_sequence(
    name: str, use: _Use, values: Mapping[str, np.ndarray], batch: CalibrationBatch
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows (sequences, tokens, in), gradients (sequences, tokens, out), 0 where they do not count, and which do.

    What has no padding (a pooler's input, patches of an image) counts whole. What is the same for all sequences (the embeddings
    of positions), or does not say which rows belong to which, counts as one sequence: its gradient is the sum of theirs, and
    the second moment of that the sum of their second moments, for each has the mean 0 and they are drawn independently.
    """
    gradients = values[use.gradient]
    features, leading = gradients.shape[-1], gradients.shape[:-1]
    counted = counted_or_all(batch, leading)
    met = _rows(use, values, leading)
    sequences = batch.sequences
    if len(leading) == 2 and leading[0] != sequences == leading[1]:  # tokens first
        met, gradients, counted = (array.swapaxes(0, 1) for array in (met, gradients, counted))
    count = sequences if counted.shape[0] % sequences == 0 else 1
    counted = counted.reshape(count, -1)
    if not np.isfinite(gradients).all():
        raise ModelError(f"the gradient at node {name} is NaN or infinite on the calibration data: check the weights")
    exact = gradients.reshape(count, -1, features)
    if use.rows in values:  # sums of products with rows are exact
        exact = exact.astype(np.float64) * counted[..., np.newaxis]
    exact = exact if use.scale == 1 else use.scale * exact
    met = met.reshape(count, -1) if use.is_lookup else met.reshape(count, -1, met.shape[-1])
    return met, exact, counted


def _rows(use: _Use, values: Mapping[str, np.ndarray], leading: tuple[int, ...]) -> np.ndarray:
    """Return what the weight meets, with the ``leading`` axes of what it returns; a column of zeros if nobody reads it."""
    if use.rows not in values:
        return np.zeros(leading, np.int64) if use.is_lookup else np.zeros((*leading, 1))
    rows = values[use.rows]
    return rows.astype(np.int64) if use.is_lookup else rows.astype(np.float64).reshape(*leading, rows.shape[-1])


def _as_one_sequence(array: np.ndarray) -> np.ndarray:
    """Return ``array`` (sequences, tokens, …) as if all tokens were of one sequence."""
    return array.reshape(1, -1, *array.shape[2:])


def _telling(batch: CalibrationBatch) -> list[int]:
    """Rank batches by how well they show which axes are sequences and tokens: the smallest sizes are the largest."""
    return sorted(size for array in batch.feeds.values() for size in array.shape)
