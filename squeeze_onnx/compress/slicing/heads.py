"""The dimensions of attention heads: measured for the allocator, and taken out of the weights on both sides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from squeeze_onnx.compress.allocators import Candidate, Slicing
from squeeze_onnx.compress.sensitivity import Prober
from squeeze_onnx.compress.slicing.base import SiteStatistics, SlicingKind
from squeeze_onnx.compress.slicing.errors import (
    dropped_columns_errors,
    moment_behind,
    output_errors,
    relative_output_error,
)
from squeeze_onnx.compress.truncation import TruncationErrors, replacement_errors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.attention_heads import (
    Projected,
    QueryKey,
    ValueOutput,
    find_query_keys,
    find_value_outputs,
)
from squeeze_onnx.graph.match.consumers import find_biases
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import singular_values
from squeeze_onnx.spectral.elimination import damped
from squeeze_onnx.spectral.head_bases import ScoreBases, context_bases, context_errors, score_bases, thin_weight
from squeeze_onnx.spectral.moments import SecondMoment

STEPS = ((32, 8), (8, 4), (1, 1))
"""(width of a head, what a smaller width is a multiple of): matrix kernels like 8, but a narrow head needs a choice."""


@dataclass(frozen=True)
class Scores:
    """Query and key of one attention: their shapes, the bases in which dimensions can go, and what scores do to the model.

    shared: how many heads of the query meet each head of the key, which has bases of its own. sensitivity: the error of the
    model's output per relative squared error of the scores, as that of a site is. halved: what added to the weight of the key,
    (in, out), has the effect of half the dimensions gone. tied: whether the width has to be that of all other heads that are, as
    a cache has one.
    """

    before: tuple[tuple[str, int], ...]
    bases: ScoreBases
    halved: np.ndarray
    shared: int = 1
    sensitivity: float = 1.0
    tied: bool = False

    @property
    def width(self) -> int:
        """The width of a head."""
        return len(self.bases.lost) - 1

    def probed(self, prober: Prober) -> Self:
        """Return it with the sensitivity measured: heads of half the width, alone, in an otherwise whole model."""
        error = float(self.bases.lost[self.width // 2])
        output_error = prober.output_error(self.before[-1][0], self.halved) if error > 0 else 0.0
        return replace(self, sensitivity=output_error / error if error > 0 else 0.0)

    def slicing(self, candidates: Mapping[str, Candidate]) -> Slicing:
        """Return the block as an allocator sees it."""
        widths = possible_widths(self.width)
        output_error, groups = self.sensitivity * self.bases.lost[widths], len(self.bases.key)
        each = {self.before[0][0]: self.shared}
        return Slicing(self.before, (), groups * widths, output_error, each, groups if self.tied else 0)


def measure_scores(block: QueryKey, seen: SiteStatistics) -> Scores:
    """Measure query and key of one attention."""
    query, key = block.before
    queries = head_blocks(output_moment(query, seen.moments[query.site.name]), block.heads)
    shared = block.heads // block.groups
    moment_of_keys = _output_covariance if block.before_softmax else output_moment
    bases = score_bases(
        queries.reshape(block.groups, shared, *queries.shape[1:]).sum(axis=1),
        head_blocks(moment_of_keys(key, seen.moments[key.site.name]), block.groups),
    )
    weight = read_weight(key.site)
    before = tuple((each.site.name, each.site.in_features) for each in block.before)
    halved = _apply(weight, _projections(bases, query.width // 2).swapaxes(-1, -2)) - weight
    return Scores(before, bases, halved, shared, tied=bool(block.caches))


def thin_scores(
    rewriter: Rewriter, block: QueryKey, measured: Scores, columns: int, *, shift_biases: bool
) -> dict[str, TruncationErrors]:
    """Keep so many columns of query and key; they have no bias behind them."""
    width, bases = columns // block.groups, measured.bases
    projections = _projections(bases, width)
    # Where the model computes the scale from the width, the query makes up for that.
    queries = block.scale_correction(width) * bases.query[..., :width]
    thin = [
        (np.repeat(queries, measured.shared, axis=0), np.repeat(projections, measured.shared, axis=0)),
        (bases.key[..., :width], projections.swapaxes(-1, -2)),
    ]
    weights: dict[str, np.ndarray] = {}
    biases: dict[str, np.ndarray] = {}
    errors: dict[str, TruncationErrors] = {}
    for each, (basis, seen) in zip(block.before, thin, strict=True):
        weight = read_weight(each.site)
        weights[each.site.name], biases[each.site.name] = _apply(weight, basis), _apply(bias_of(each), basis)
        spectrum = singular_values(weights[each.site.name])
        lost = float(bases.lost[width])
        errors[each.site.name] = replacement_errors(weight, _apply(weight, seen), lost, 1.0, spectrum)
    rewriter.narrow(block, columns, weights, biases)
    return errors


@dataclass(frozen=True)
class Contexts:
    """Value and output of one attention: their shapes, the second moment between them, and the bases in which dimensions can go.

    bases: one for each head of the value. group_of: the head of the value that each head of the attention reads. errors: the
    squared error of the attention's output, as a mean over tokens, if 0 … all dimensions of a head stay. tied as in `Scores`.
    """

    before: tuple[str, int]
    after: tuple[str, int]
    moment: SecondMoment
    bases: np.ndarray
    errors: np.ndarray
    group_of: tuple[int, ...]
    tied: bool = False

    def probed(self, prober: Prober) -> Self:
        """Return it as it is: what contexts do to the model is what the site does that reads them."""
        return self

    def slicing(self, candidates: Mapping[str, Candidate]) -> Slicing:
        """Return the block as an allocator sees it."""
        widths = possible_widths(self.bases.shape[-1])
        output_error = relative_output_error(self.errors, candidates[self.after[0]])[widths]
        output_error[0] = 0.0  # as they are, whatever rounding says
        shared = {self.after[0]: len(self.group_of) // len(self.bases)}
        groups = len(self.bases)
        tied = groups if self.tied else 0
        return Slicing((self.before,), (self.after,), groups * widths, output_error, shared, tied)


def measure_contexts(block: ValueOutput, seen: SiteStatistics) -> Contexts:
    """Measure value and output of one attention."""
    (value,), (output,) = block.before, block.after
    weight, moment = seen.weight(output), seen.moments[output.name]
    rows = damped(moment_behind(moment, output))
    heads = weight.reshape(block.heads, value.width, -1)
    blocks = head_blocks(rows, block.heads)
    readers = [np.flatnonzero(np.equal(block.group_of, group)) for group in range(block.groups)]
    bases = context_bases(
        np.stack([blocks[reading].mean(axis=0) for reading in readers]),
        np.stack([np.concatenate(heads[reading], axis=-1) for reading in readers]),
    )
    return Contexts(
        (value.site.name, value.site.in_features),
        (output.name, output.out_features),
        moment,
        bases,
        context_errors(rows, weight, bases[list(block.group_of)]),
        block.group_of,
        tied=bool(block.caches),
    )


def thin_contexts(
    rewriter: Rewriter, block: ValueOutput, measured: Contexts, columns: int, *, shift_biases: bool
) -> dict[str, TruncationErrors]:
    """Keep so many columns of value, and rows of output."""
    (value,), (output,) = block.before, block.after
    weight, seen = read_weight(output), moment_behind(measured.moment, output)
    bases = measured.bases[..., : columns // block.groups]
    read = bases[list(block.group_of)]
    after = thin_weight(damped(seen), weight, read)
    whole = _widened(after, read)
    before = read_weight(value.site)
    weights = {value.site.name: _apply(before, bases), output.name: after}
    errors = {
        value.site.name: dropped_columns_errors(before, _apply(before, bases @ np.linalg.pinv(bases))),
        output.name: output_errors(weight, whole, seen),
    }
    rewriter.narrow(block, columns, weights, {value.site.name: _apply(bias_of(value), bases)})
    if shift_biases or len(output.nodes) > 1:  # a refit leaves weights that layers share as they are
        for bias in find_biases(output):
            rewriter.shift_bias(output, bias, measured.moment.mean @ (weight - whole))
    return errors


def possible_widths(width: int) -> np.ndarray:
    """Return the widths that heads of ``width`` may have, descending from it."""
    step = next(step for least, step in STEPS if width >= least)
    return np.array([width, *range((width - 1) // step * step, 0, -step)])


def output_moment(projected: Projected, moment: SecondMoment) -> np.ndarray:
    """Second moment (out, out) of what a site returns, bias and all."""
    mean = moment.mean @ read_weight(projected.site) + bias_of(projected)
    found: np.ndarray = _output_covariance(projected, moment) + np.outer(mean, mean)
    return found


def _output_covariance(projected: Projected, moment: SecondMoment) -> np.ndarray:
    weight = read_weight(projected.site)
    covariance: np.ndarray = weight.T @ moment.covariance @ weight
    return covariance


def bias_of(projected: Projected) -> np.ndarray:
    """Return what is added to the product of a site, (out,), zeros if nothing is."""
    if projected.bias is None:
        return np.zeros(projected.site.out_features)
    entries: np.ndarray = projected.bias.tensor.numpy().astype(np.float64)
    return entries


def head_blocks(matrix: np.ndarray, heads: int) -> np.ndarray:
    """The blocks on the diagonal: (heads·d, heads·d) → (heads, d, d)."""
    width = len(matrix) // heads
    blocks: np.ndarray = np.einsum("hihj->hij", matrix.reshape(heads, width, heads, width))
    return blocks


def _apply(columns: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Change the basis of each head: columns (…, heads·d), bases (heads, d, r) → (…, heads·r)."""
    split = columns.reshape(*columns.shape[:-1], len(bases), -1)
    changed: np.ndarray = np.einsum("...hd,hdr->...hr", split, bases)
    return changed.reshape(*columns.shape[:-1], -1)


def _widened(thin: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Return what a ``thin`` weight (heads·r, out) behind ``bases`` (heads, d, r) is for whole heads, (heads·d, out)."""
    split = thin.reshape(len(bases), bases.shape[-1], -1)
    widened: np.ndarray = bases @ split
    return widened.reshape(-1, thin.shape[-1])


def _projections(bases: ScoreBases, width: int) -> np.ndarray:
    """Return P (heads, d, d) with which q P kᵀ are the scores of heads of ``width``."""
    projections: np.ndarray = bases.query[..., :width] @ bases.key[..., :width].swapaxes(-1, -2)
    return projections


SCORES = SlicingKind(find_query_keys, measure_scores, thin_scores)
CONTEXTS = SlicingKind(find_value_outputs, measure_contexts, thin_contexts)
