"""What has to change between two weights when columns go: constants with an entry a column, and the sizes that moves name.

    Add(h, bias)                 the entries of bias that stay
    Split(h, [n, n])             the sizes of what stays of each part
    Slice(h, starts, ends)       where what stays begins and ends
    Gather(h, indices)           where what is picked lies now
    Reshape(h, [0, 0, n, 2])     the sizes that are named; 0 and −1 stay, and so does what is computed from shapes at run time

Each is worked out from the numbers of columns before and after (`column_trace`), and tried out on them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.behaviour import UncomputableError, compute
from squeeze_onnx.graph.match.column_trace import ColumnTrace, is_move, kept_axes, moved, restricted
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, int_attribute, op_of, operand

COPIED = 0
INFERRED = -1
"""What stands in the operand of a Reshape for a size that is that of its input, and for one that follows from the others."""


@dataclass(frozen=True, eq=False)
class Edit:
    """A constant that ``node`` is to read as its ``operand``, or as a list under that name among its attributes.

    pieces: where a Concat joins the operand, its operands from now on, None for those that stay; ``entries`` is what comes of it.
    """

    node: ir.Node
    operand: int | str
    entries: np.ndarray
    pieces: tuple[np.ndarray | None, ...] = ()


class NotResizableError(Exception):
    """Something between the weights cannot follow if columns go."""


@dataclass(frozen=True, eq=False)
class _Change:
    """A node between the weights, and which columns stay.

    axes: which indices of each axis of a value stay. numbers: the columns of each value then.
    """

    trace: ColumnTrace
    node: ir.Node
    axes: Mapping[ir.Value, tuple[np.ndarray, ...]]
    numbers: Mapping[ir.Value, np.ndarray]

    @property
    def before(self) -> tuple[np.ndarray, ...]:
        """Which indices of the first operand stay."""
        value = self.node.inputs[0]
        assert value is not None, "a move has an operand"
        return self.axes[value]

    def constant(self, index: int) -> np.ndarray | None:
        """Return the operand ``index`` if it is constant."""
        tensor = constant_tensor(operand(self.node, index))
        return None if tensor is None else tensor.numpy()

    def works_with(self, edits: Sequence[Edit]) -> bool:
        """Whether ``edits`` let a move return what stays, in the same order."""
        node = self.node
        operands = {value: edit.entries for edit in edits if (value := operand(node, int(edit.operand))) is not None}
        try:
            found = moved(node, self.numbers, operands, self.trace.beyond)
        except UncomputableError:
            return False
        return all(map(np.array_equal, found, (self.numbers[output] for output in node.outputs)))


def edits_between(trace: ColumnTrace, nodes: Iterable[ir.Node], kept: np.ndarray) -> list[Edit]:
    """Return what to change at ``nodes``, those that were followed, so that the columns ``kept`` (count,) stay.

    Raises NotResizableError.
    """
    edits: list[Edit] = []
    try:
        axes = {value: kept_axes(numbers, kept) for value, numbers in trace.numbers.items()}
        numbers = {value: restricted(trace.numbers[value], stays) for value, stays in axes.items()}
        for node in nodes:
            change = _Change(trace, node, axes, numbers)
            edits += _move_edits(change) if is_move(node) else _vector_edits(change)
    except (ValueError, UncomputableError) as error:
        raise NotResizableError(str(error)) from error
    return edits


def _vector_edits(change: _Change) -> Iterator[Edit]:
    axes = change.axes[change.node.outputs[0]]
    product = WEIGHT_OPERATORS.get(op_of(change.node))
    for index, value in enumerate(change.node.inputs):
        tensor = None if value in change.numbers else constant_tensor(value)
        if tensor is None or tensor.size == 1 or (product is not None and index != product.bias):
            continue
        shape = tensor.shape.numpy()
        aligned = axes[len(axes) - len(shape) :]
        goes = [
            (axis, stays)
            for axis, (stays, size) in enumerate(zip(aligned, shape, strict=True))
            if size > 1 and not stays.all()
        ]
        entries = tensor.numpy()
        for axis, stays in goes:
            entries = entries.compress(stays, axis=axis)
        if goes:
            yield Edit(change.node, index, entries)


def _move_edits(change: _Change) -> Sequence[Edit]:
    """Return what a move needs to follow: nothing if it does by itself."""
    node = change.node
    if change.works_with(()):
        return ()
    edit = _MOVE_EDITS.get(op_of(node))
    edits = () if edit is None else tuple(edit(change))
    if not edits or not (isinstance(edits[0].operand, str) or change.works_with(edits)):
        raise NotResizableError(f"{op_of(node)} {node.name} does not follow")
    return edits


def _split(change: _Change) -> Iterator[Edit]:
    axis = int_attribute(change.node, "axis")
    sizes = np.array([change.numbers[output].shape[axis] for output in change.node.outputs], np.int64)
    yield Edit(change.node, "split" if "split" in change.node.attributes else 1, sizes)


def _slice(change: _Change) -> Iterator[Edit]:
    starts, ends, axes, steps = (change.constant(index) for index in (1, 2, 3, 4))
    if starts is None or ends is None:
        return
    starts, ends = starts.copy(), ends.copy()
    for entry, axis in enumerate(range(len(starts)) if axes is None else axes.tolist()):
        stays = change.before[axis]
        step = 1 if steps is None else int(steps[entry])
        taken = np.arange(len(stays))[int(starts[entry]) : int(ends[entry]) : step]
        places = (np.cumsum(stays) - 1)[taken[stays[taken]]]
        if len(places) and step > 0:
            starts[entry] = places[0]
            ends[entry] = ends[entry] if ends[entry] > len(stays) else places[-1] + 1
    yield Edit(change.node, 1, starts)
    yield Edit(change.node, 2, ends)


def _gather(change: _Change) -> Iterator[Edit]:
    indices, stays = change.constant(1), change.before[int_attribute(change.node, "axis")]
    if indices is not None and indices.ndim == 1:
        within = indices[stays[indices]]
        yield Edit(change.node, 1, (np.cumsum(stays) - 1)[within].astype(indices.dtype))


def _reshape(change: _Change) -> Iterator[Edit]:
    shape = operand(change.node, 1)
    producer = None if shape is None else shape.producer()
    pieces = [shape] if producer is None or op_of(producer) != "Concat" else list(producer.inputs)
    sizes = change.numbers[change.node.outputs[0]].shape
    whole: list[np.ndarray] = []
    changed: list[np.ndarray | None] = []
    for piece in pieces:
        tensor = constant_tensor(piece)
        if tensor is None and piece is not None:
            whole.append(compute([piece], change.numbers, shape_beyond=change.trace.beyond)[0])
            changed.append(None)
        elif tensor is not None:
            entries, start = tensor.numpy().copy(), sum(map(len, whole))
            for index, size in enumerate(sizes[start : start + len(entries)]):
                if entries[index] not in (COPIED, INFERRED):
                    entries[index] = size
            whole.append(entries)
            changed.append(None if np.array_equal(entries, tensor.numpy()) else entries)
    yield Edit(change.node, 1, np.concatenate(whole), tuple(changed) if len(pieces) > 1 else ())


_MOVE_EDITS: dict[str, Callable[[_Change], Iterator[Edit]]] = {
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
}
