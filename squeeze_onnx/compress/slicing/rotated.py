"""Query and key that are rotated by their positions: measured for the allocator, and thinned in whole pairs of dimensions.

What a pair adds to the scores is Re(q · k̄ · e^{iθ(t−s)}), with both dimensions as one complex number. Over all distances the
turns of different pairs are independent, so the energy of the scores is the sum over pairs of E|q|² · E|k|² / 2, and each head
keeps those with the most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from squeeze_onnx.compress.allocators import Candidate, Slicing
from squeeze_onnx.compress.sensitivity import Prober
from squeeze_onnx.compress.slicing.base import SiteStatistics, SlicingKind
from squeeze_onnx.compress.slicing.heads import bias_of, head_blocks, output_moment, possible_widths
from squeeze_onnx.compress.truncation import TruncationErrors, replacement_errors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.rotated_heads import RotatedQueryKey, find_rotated_query_keys
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import singular_values


@dataclass(frozen=True)
class RotatedScores:
    """Rotated query and key of one attention: their shapes, and the pairs of dimensions that count most.

    order: the pairs of each head of the key, (groups, pairs), those that count most first. lost: the energy of the scores that is
    lost if 0 … all pairs stay, relative to all of it. shared, halved, sensitivity and tied as in `heads.Scores`.
    """

    before: tuple[tuple[str, int], ...]
    order: np.ndarray
    lost: np.ndarray
    halved: np.ndarray
    shared: int = 1
    sensitivity: float = 1.0
    tied: bool = False

    def probed(self, prober: Prober) -> Self:
        """Return it with the sensitivity measured: heads of half the pairs, alone, in an otherwise whole model."""
        error = float(self.lost[self.order.shape[1] // 2])
        output_error = prober.output_error(self.before[-1][0], self.halved) if error > 0 else 0.0
        return replace(self, sensitivity=output_error / error if error > 0 else 0.0)

    def slicing(self, candidates: Mapping[str, Candidate]) -> Slicing:
        """Return the block as an allocator sees it."""
        groups, pairs = self.order.shape
        widths = possible_widths(2 * pairs)
        widths = widths[widths % 2 == 0]
        output_error = self.sensitivity * self.lost[widths // 2]
        each = {self.before[0][0]: self.shared}
        return Slicing(self.before, (), groups * widths, output_error, each, groups if self.tied else 0)


def measure_rotated(block: RotatedQueryKey, seen: SiteStatistics) -> RotatedScores:
    """Measure query and key of one attention."""
    query, key = block.before
    shared = block.heads // block.groups
    queries, keys = (
        np.diagonal(head_blocks(output_moment(each, seen.moments[each.site.name]), each.heads), axis1=1, axis2=2)
        for each in (query, key)
    )
    met = queries.reshape(block.groups, shared, -1).sum(axis=1)
    energy = met[:, block.pairs].sum(axis=-1) * keys[:, block.pairs].sum(axis=-1)
    order = np.argsort(-energy, axis=1, kind="stable")
    sorted_energy = np.take_along_axis(energy, order, axis=1).sum(axis=0)
    lost = np.append(sorted_energy[::-1].cumsum()[::-1], 0.0) / max(float(energy.sum()), np.finfo(np.float64).tiny)
    weight = read_weight(key.site)
    halved = _masked(weight, block.pairs, order[:, : len(block.pairs) // 2]) - weight
    before = tuple((each.site.name, each.site.in_features) for each in block.before)
    return RotatedScores(before, order, lost, halved, shared, tied=bool(block.caches))


def thin_rotated(
    rewriter: Rewriter, block: RotatedQueryKey, measured: RotatedScores, columns: int, *, shift_biases: bool
) -> dict[str, TruncationErrors]:
    """Keep so many columns of query and key; they have no bias behind them."""
    count = columns // block.groups // 2
    kept = measured.order[:, :count]
    # Where the model computes the scale from the width, the query makes up for that.
    factors = (block.scale_correction(2 * count), 1.0)
    weights: dict[str, np.ndarray] = {}
    biases: dict[str, np.ndarray] = {}
    errors: dict[str, TruncationErrors] = {}
    for each, factor in zip(block.before, factors, strict=True):
        weight = read_weight(each.site)
        stays = np.repeat(kept, each.heads // block.groups, axis=0)
        taken = _columns(block.pairs, stays)
        weights[each.site.name], biases[each.site.name] = factor * weight[:, taken], factor * bias_of(each)[taken]
        masked = _masked(weight, block.pairs, stays)
        spectrum = singular_values(weights[each.site.name])
        errors[each.site.name] = replacement_errors(weight, masked, float(measured.lost[count]), 1.0, spectrum)
    rewriter.narrow(block, columns, weights, biases)
    rewriter.turn(block, kept)
    return errors


def _columns(pairs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the columns of the pairs ``kept`` (heads, n): in each head the first dimensions of pairs, then the second ones."""
    dimensions = np.concatenate([pairs[kept][..., 0], pairs[kept][..., 1]], axis=1)
    columns: np.ndarray = (np.arange(len(kept))[:, None] * pairs.size + dimensions).ravel()
    return columns


def _masked(weight: np.ndarray, pairs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    columns = _columns(pairs, kept)
    masked = np.zeros_like(weight)
    masked[:, columns] = weight[:, columns]
    return masked


ROTATED = SlicingKind(find_rotated_query_keys, measure_rotated, thin_rotated)
