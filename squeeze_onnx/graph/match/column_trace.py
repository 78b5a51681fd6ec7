"""Which columns of weights each entry of a value was computed from, followed through what lies between two weights.

Every column of the weights at the start gets a number. Products write their numbers along their last axis; an operator that
only moves entries (a Split, a Reshape to pairs, a Slice of every second one) is run on the numbers, by ONNX's reference
implementation; an operator that treats every entry alike ties the numbers that meet in it. What hangs together in the end is one
neuron, however an exporter spelled it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from squeeze_onnx.graph.match.behaviour import compute
from squeeze_onnx.graph.match.dataflow import upstream
from squeeze_onnx.graph.match.operators import MOVES, op_of, operand


@dataclass(eq=False)
class ColumnTrace:
    """Numbers of columns, (size of the value), for each ``value`` that was followed, and which numbers met.

    count: how many numbers there are. beyond: the shape to tell of values that lie outside and whose shape alone is read.
    """

    beyond: tuple[int, ...]
    numbers: dict[ir.Value, np.ndarray] = field(default_factory=dict)
    count: int = 0
    _met: list[np.ndarray] = field(default_factory=list)

    def start(self, product: ir.Value, lead: tuple[int, ...], first: int, columns: int) -> None:
        """Let ``product`` (*lead, columns) have the numbers from ``first`` on along its last axis."""
        self.numbers[product] = np.broadcast_to(np.arange(first, first + columns), (*lead, columns))
        self.count = max(self.count, first + columns)

    def move(self, node: ir.Node) -> None:
        """Follow ``node``, which only moves entries. Raises UncomputableError if it does not run on values of these sizes."""
        for output, numbers in zip(node.outputs, moved(node, self.numbers, {}, self.beyond), strict=True):
            self.numbers[output] = numbers

    def tie(self, node: ir.Node, constants: Iterable[tuple[int, ...]]) -> None:
        """Follow ``node``, which treats entries alike, with ``constants`` of these shapes; ValueError if they do not fit."""
        operands = [self.numbers[value] for value in node.inputs if value in self.numbers]
        shape = np.broadcast_shapes(*(numbers.shape for numbers in operands), *constants)
        first, *others = (
            numbers if numbers.shape == shape else np.broadcast_to(numbers, shape) for numbers in operands
        )
        for other in others:
            if other is not first:
                self._met.append(np.unique(np.stack([first.ravel(), other.ravel()]), axis=1))
        self.numbers[node.outputs[0]] = first

    def parts(self) -> np.ndarray:
        """Return for each number the part of all numbers that it hangs together with, shape (count,)."""
        pairs = np.concatenate([np.zeros((2, 0), np.int64), *self._met], axis=1)
        graph = coo_array((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(self.count, self.count))
        parts: np.ndarray = connected_components(graph, directed=False)[1]
        return parts


def moved(
    node: ir.Node,
    numbers: Mapping[ir.Value, np.ndarray],
    operands: Mapping[ir.Value, np.ndarray],
    beyond: tuple[int, ...],
) -> Sequence[np.ndarray]:
    """Return what ``node`` makes of ``numbers``, with ``operands`` in the place of its own.

    Raises UncomputableError if it fails.
    """
    given = dict(operands)
    pending = [value for value in node.inputs if value is not None and value not in given]
    given |= {value: numbers[value] for value in pending if value in numbers}
    for value in pending:
        if value not in given:  # a size that is computed from the shapes of what was followed
            read = (each for inside in upstream(value, lambda _: False) for each in inside.inputs if each is not None)
            given |= {each: numbers[each] for each in read if each in numbers}
    return compute(node.outputs, given, shape_beyond=beyond)


def kept_axes(numbers: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return for each axis of ``numbers`` which of its indices stay if the numbers stay that ``kept`` (count,) says.

    Raises ValueError if they do not lie side by side then.
    """
    stays = kept[numbers]
    axes = tuple(
        stays.any(axis=tuple(other for other in range(stays.ndim) if other != axis)) for axis in range(stays.ndim)
    )
    if int(stays.sum()) != int(np.prod([int(axis.sum()) for axis in axes])):
        raise ValueError("what stays is no smaller array")
    return axes


def restricted(numbers: np.ndarray, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the part of ``numbers`` that has the indices ``axes``."""
    part: np.ndarray = numbers[np.ix_(*axes)] if axes else numbers
    return part


def is_move(node: ir.Node) -> bool:
    """Whether ``node`` returns the entries of its first operand, or of all if it joins them, in other places only."""
    if op_of(node) == "Einsum":  # of one operand: it permutes axes unless it sums over some
        equation = node.attributes["equation"].as_string().replace(" ", "")
        before, _, after = equation.partition("->")
        return len(node.inputs) == 1 and "->" in equation and sorted(before) == sorted(after)
    return op_of(node) in MOVES


def moved_operands(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the operands of a move whose entries it returns."""
    for index in range(len(node.inputs)) if op_of(node) == "Concat" else (0,):
        value = operand(node, index)
        if value is not None:
            yield value
