"""The neurons of feed-forward blocks: measured for the allocator, and taken out."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.consumers import find_biases
from squeeze_onnx.graph.match.feed_forward import FeedForward, find_feed_forwards
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.elimination import Elimination, compensate, eliminate
from squeeze_onnx.spectral.moments import SecondMoment


@dataclass(frozen=True)
class Neurons:
    """The neurons of one block: its shapes, their second moment, and the order in which they can go.

    columns_each: how many columns a neuron has of each site before, by name.
    """

    before: tuple[tuple[str, int], ...]
    after: tuple[str, int]
    moment: SecondMoment
    elimination: Elimination
    columns_each: Mapping[str, int]

    def probed(self, prober: Prober) -> Self:
        """Return it as it is: what neurons do to the model is what the site does that reads them."""
        return self

    def slicing(self, candidates: Mapping[str, Candidate]) -> Slicing:
        """Return the block as an allocator sees it."""
        output_error = relative_output_error(self.elimination.errors, candidates[self.after[0]])
        return Slicing(self.before, (self.after,), self.elimination.sizes, output_error, self.columns_each)


def measure_neurons(block: FeedForward, seen: SiteStatistics) -> Neurons:
    """Measure one block."""
    after = block.after
    moment = seen.moments[after.name]
    elimination = eliminate(moment_behind(moment, after), seen.weight(after))
    before = tuple((site.name, site.in_features) for site in block.before)
    each = {site.name: block.columns_each(site) for site in block.before}
    return Neurons(before, (after.name, after.out_features), moment, elimination, each)


def slice_neurons(
    rewriter: Rewriter, block: FeedForward, measured: Neurons, columns: int, *, shift_biases: bool
) -> dict[str, TruncationErrors]:
    """Keep so many neurons of ``block``."""
    kept = measured.elimination.kept(columns)
    weight, biases = read_weight(block.after), find_biases(block.after)
    seen = moment_behind(measured.moment, block.after)
    after = compensate(seen, weight, kept)
    whole = np.zeros_like(weight)
    whole[kept] = after
    errors: dict[str, TruncationErrors] = {}
    for site in block.before:
        old = read_weight(site)
        sliced = np.zeros_like(old)
        stays = block.kept_columns(site, kept)
        sliced[:, stays] = old[:, stays]
        errors[site.name] = dropped_columns_errors(old, sliced)
    errors[block.after.name] = output_errors(weight, whole, seen)
    rewriter.slice(block, kept, after)
    if shift_biases or len(block.after.nodes) > 1:  # a refit leaves weights that layers share as they are
        for bias in biases:
            rewriter.shift_bias(block.after, bias, measured.moment.mean @ (weight - whole))
    return errors


NEURONS = SlicingKind(find_feed_forwards, measure_neurons, slice_neurons)
