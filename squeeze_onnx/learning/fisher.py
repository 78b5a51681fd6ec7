"""Streaming Fisher information: one run of the graph and its adjoint over the text, nothing kept but sums.

ℓ is the negative log-likelihood of an answer drawn from the model's own distribution, so no label is needed, and E[∇ℓ ∇ℓᵀ] is
the Fisher information itself; with a data set's labels in place of the draw it would not be (Kunstner, Balles & Hennig 2019,
arXiv 1905.12558). One answer is drawn a sequence, and gradients are those of single sequences, never of a batch's mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.evaluate.heads import Head
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, product_scale, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.learning.draws import drawn_loss
from squeeze_onnx.learning.fisher_sums import SUMS
from squeeze_onnx.learning.gradients import GradientGraph, differentiate_by_values
from squeeze_onnx.learning.losses import LOSS, MASK, attach_losses, full_mask
from squeeze_onnx.spectral.fisher_moments import Fisher
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Track, silent


@dataclass(frozen=True)
class _Use:
    """One node that uses a weight: what it reads, the gradient by what it returns, its factor, and whether it picks rows."""

    rows: str
    gradient: str
    scale: float
    is_lookup: bool


def collect_fisher(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    batches: Sequence[CalibrationBatch],
    head: Head,
    kind: type[Fisher],
    *,
    seed: int = 0,
    provider: str = "cpu",
    track: Track = silent,
) -> dict[str, Fisher]:
    """Return the Fisher information of ``kind`` at each of ``sites``, by name, in one pass over ``batches``, padding excluded.

    ``head`` says which output is the answer, ``seed`` draws from its distribution. A tied weight counts all its uses.

    Raises ModelError if the graph cannot be differentiated or a gradient is not finite, OptionError for a site that the answer
    does not depend on, or whose rows belong to no sequence.
    """
    loss = drawn_loss(head)
    graph = attach_losses(model, [loss])
    (target,) = graph.targets.values()
    with session_showing(model, [head.output], provider) as session:
        features = session.run([head.output], batches[0].feeds)[0].shape[-1]

    def feeds(batch: CalibrationBatch, rng: np.random.Generator) -> dict[str, np.ndarray]:
        mask = full_mask(batch.feeds, batch.mask)
        return {**batch.feeds, MASK: mask, target: loss.draw(rng, (mask.shape[0], mask.shape[1]), features)}

    products = [str(node.outputs[0].name) for site in sites for node in site.nodes]
    example = feeds(max(batches, key=_size), np.random.default_rng(seed))
    adjoint = differentiate_by_values(graph.model, products, LOSS, example)
    uses = _uses(sites, adjoint)
    sums = {site.name: SUMS[kind](site) for site in sites}
    wanted = list(dict.fromkeys(value for each in uses.values() for use in each for value in (use.gradient, use.rows)))
    rng = np.random.default_rng(seed)
    with session_showing(adjoint.model, wanted, provider) as session:
        for batch in track(batches, "Fisher information"):
            values = dict(zip(wanted, session.run(wanted, feeds(batch, rng)), strict=True))
            text = full_mask(batch.feeds, batch.mask)
            for name, each in uses.items():
                seen = [_by_sequence(name, use, values, text) for use in each]
                if len({len(counted) for _, _, counted in seen}) > 1:
                    raise OptionError(
                        f"{name} is used by text and by what is no text: leave it out with --exclude {name}"
                    )
                rows, gradients, counted = (np.concatenate(parts, axis=1) for parts in zip(*seen, strict=True))
                sums[name].add(rows, gradients, counted)
    return {name: total.fisher() for name, total in sums.items()}


def _uses(sites: Sequence[MatMulSite], adjoint: GradientGraph) -> dict[str, list[_Use]]:
    """Find the nodes that use each site in the graph of the gradients, where what they read may have got another name."""
    producers = {str(output.name): node for node in adjoint.model.graph for output in node.outputs}
    uses: dict[str, list[_Use]] = {}
    for site in sites:
        products = [str(node.outputs[0].name) for node in site.nodes]
        if any(product not in adjoint.gradients for product in products):
            raise OptionError(
                f"the model's answer does not depend on {site.name}: leave it out with --exclude {site.name}"
            )
        uses[site.name] = [
            _Use(
                str(rows_of(producers[product]).name),
                adjoint.gradients[product],
                product_scale(producers[product]),
                WEIGHT_OPERATORS[op_of(producers[product])].lookup,
            )
            for product in products
        ]
    return uses


def _by_sequence(
    name: str, use: _Use, values: Mapping[str, np.ndarray], text: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows (sequences, tokens, in), gradients (sequences, tokens, out), 0 at padding, and which tokens are text.

    What does not run over all positions (a pooler's input) has no padding, as in `moment_sums.without_padding`. What is the same
    for all sequences (the embeddings of positions) counts as one sequence: its gradient is the sum of theirs, and the second
    moment of that the sum of their second moments, for each has the mean 0 and they are drawn independently.
    """
    rows, gradients = values[use.rows], values[use.gradient]
    features = gradients.shape[-1]
    counted = _counted(name, gradients.shape[:-1], text)
    sequences = len(counted)
    exact = use.scale * gradients.astype(np.float64).reshape(sequences, -1, features) * counted[..., np.newaxis]
    if not np.isfinite(exact).all():
        raise ModelError(f"the gradient at node {name} is NaN or infinite on the calibration data: check the weights")
    met = rows.reshape(sequences, -1) if use.is_lookup else rows.reshape(sequences, -1, rows.shape[-1])
    return met.astype(np.int64 if use.is_lookup else np.float64), exact, counted


def _counted(name: str, shape: tuple[int, ...], text: np.ndarray) -> np.ndarray:
    """Return which of the rows that a site returns, ``shape`` without features, are text: (sequences, rows each)."""
    sequences, tokens = text.shape
    if shape == (1, tokens):
        return np.asarray(text.max(axis=0, keepdims=True))
    if math.prod(shape) == text.size:
        return text
    if math.prod(shape) == sequences:
        return np.ones((sequences, 1), np.float32)
    raise OptionError(
        f"{name} returns {math.prod(shape)} rows for {sequences} sequences, so it is not known which belong to which: leave it "
        f"out with --exclude {name}"
    )


def _size(batch: CalibrationBatch) -> int:
    return sum(array.size for array in batch.feeds.values())
