"""Sublayers that go as a plan says: a constant takes the place of each, the mean of what it added to the residual stream."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.consumers import find_bias
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.match.sublayers import Sublayer, find_sublayers
from squeeze_onnx.graph.rewrite.removal import remove_sublayer, set_constant
from squeeze_onnx.runtime.part_run import Values
from squeeze_onnx.spectral.moment_sums import Counted, rows_of_features
from squeeze_onnx.spectral.moments import Moments, SecondMoment

ALL_LOST = TruncationErrors(1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
"""What is lost of a weight that goes."""


@dataclass(frozen=True, eq=False)
class Removal:
    """A sublayer that is gone: the ``join`` that adds its ``constant`` to the ``stream``, and the ``sites`` that it had."""

    join: ir.Node
    stream: ir.Value
    constant: ir.Value
    sites: tuple[str, ...]

    @property
    def wanted(self) -> tuple[tuple[str], tuple[str]]:
        """The value to watch in the dense model, behind the sublayer, and that in the squeezed one, before it."""
        return (str(self.join.outputs[0].name),), (str(self.stream.name),)

    def sums(self) -> "ConstantSums":
        """Return what sums them up."""
        return ConstantSums(self)


def remove_sublayers(model: ir.Model, names: Collection[str], moments: Mapping[str, Moments]) -> tuple[Removal, ...]:
    """Take the sublayers out of ``model``, in place, all whose sites have these ``names``; return them in graph order.

    ``moments`` are those of what sites read, by name.
    """
    if not names:
        return ()
    sites = find_sites(model).sites
    for site in sites:  # names are made of what is before: they are to stay what they are
        site.nodes[0].name = site.name
    removals = []
    for sublayer in find_sublayers(sites, names):
        constant = remove_sublayer(model, sublayer, mean_added(sublayer, moments[sublayer.name]))
        gone = tuple(site.name for site in sublayer.sites)
        stream = sublayer.join.inputs[1 - sublayer.operand]
        assert stream is not None, "an addition has two operands"
        removals.append(Removal(sublayer.join, stream, constant, gone))
    return tuple(removals)


def mean_added(sublayer: Sublayer, read: Moments) -> np.ndarray:
    """Return the mean over tokens of what ``sublayer`` adds to the stream, (features,), given the moments of what ``read``."""
    assert isinstance(read, SecondMoment), "the last weight of a sublayer is no lookup"
    bias = find_bias(sublayer.after)
    mean: np.ndarray = read.mean @ read_weight(sublayer.after)
    return mean if bias is None else mean + bias.tensor.numpy().astype(np.float64)


class ConstantSums:
    """What the stream of the dense model is, behind the sublayer, beyond that of the squeezed model before: the constant.

    It makes up for what went there, and for what the mean of the stream has lost before. Float64, padding excluded.
    """

    def __init__(self, removal: Removal) -> None:
        self._removal = removal
        self._total: np.ndarray | float = 0.0
        self._tokens = 0

    def add(self, dense: Values, squeezed: Values, counted: Counted) -> None:
        """Take in the values of one batch."""
        (behind,), (before,) = self._removal.wanted
        after, stream = (
            rows_of_features(value, counted).astype(np.float64) for value in (dense[behind], squeezed[before])
        )
        if after.shape == stream.shape:  # else the stream is broadcast to what is added
            self._total = self._total + (after - stream).sum(axis=0)
            self._tokens += len(after)

    def settle(self) -> None:
        """Put the mean into the squeezed model."""
        if self._tokens:
            set_constant(self._removal.constant, np.asarray(self._total) / self._tokens)
