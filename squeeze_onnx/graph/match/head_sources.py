"""Where the heads of an attention come from, however they were packed: which columns of which product make which head.

    x ─► MatMul(query | key | value) ─► Add(bias) ─► Reshape, Split, Transpose, Slice, Gather, … ─► heads

Every entry of the product gets a number, what only moves entries is run on the numbers, and the numbers in the end say it all:
equal parts, parts interleaved head by head, groups, heads that are repeated. Nothing is known of how any of that is spelled.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.attention_parts import NATURAL, NotABlockError, Products, fixed_sizes
from squeeze_onnx.graph.match.behaviour import UncomputableError, batch_and_tokens
from squeeze_onnx.graph.match.column_trace import is_move, moved
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.consumers import find_bias_at
from squeeze_onnx.graph.match.dataflow import upstream
from squeeze_onnx.graph.match.operators import SCALINGS, data_operands, op_of, product_scale, rows_of
from squeeze_onnx.graph.match.operators import operand as operand_of
from squeeze_onnx.graph.match.sites import MatMulSite

_FURTHER_MOVES = frozenset({"Expand", "Identity", "Tile"})


@dataclass(frozen=True)
class Size:
    """The size of an axis: a number, times the batch, times the tokens."""

    number: int
    batch: bool
    tokens: bool


@dataclass(frozen=True, eq=False)
class HeadSource:
    """A ``value`` that is heads and nothing else: columns of one ``product``, moved, and perhaps scaled.

    columns: those of each head, (groups, width), that are not the same twice. group_of: which of these each head of the value is.
    axes: which of batch, tokens, heads and width each axis of the value is; merged: batch and heads are one axis, the first.
    scalings: the products with a constant number on the way. rows: what the product multiplies, (batch, tokens, features).
    shapes: of all that lies on the way, by the sizes of these rows. sizes: a batch and tokens that the graph runs with there.
    """

    value: ir.Value
    product: ir.Node
    site: MatMulSite
    columns: np.ndarray
    group_of: tuple[int, ...]
    axes: tuple[int, ...]
    merged: bool
    scalings: tuple[ir.Node, ...]
    rows: ir.Value
    shapes: Mapping[ir.Value, tuple[Size, ...]]
    sizes: tuple[int, int]

    @property
    def biased(self) -> ir.Value:
        """The product, with its bias."""
        bias = find_bias_at(self.product, self.site.out_features)
        return self.product.outputs[0] if bias is None else bias.node.outputs[0]

    @property
    def is_whole(self) -> bool:
        """Whether it is all columns of the product in their order, and the product has an axis for the tokens."""
        in_order = np.array_equal(self.columns.ravel(), np.arange(self.site.out_features))
        return in_order and rows_of(self.product) is self.rows


def head_source(operand: ir.Value, products: Products) -> HeadSource:
    """Return the last value before ``operand`` of an attention that is heads of one product and nothing else.

    Raises NotABlockError or UncomputableError if there is none.
    """
    found = list(dict.fromkeys(node for node in upstream(operand, products.__contains__) if node in products))
    if len(found) != 1 or products[found[0]].weight.decoding:
        raise NotABlockError
    [product] = found
    site = products[product]
    bias = find_bias_at(product, site.out_features)
    unread = op_of(product) == "Gemm" and bias is None and operand_of(product, 2) is not None
    if op_of(product) not in {"MatMul", "Gemm"} or product_scale(product) != 1.0 or unread:
        raise NotABlockError
    start = product.outputs[0] if bias is None else bias.node.outputs[0]
    path = _path_to(_last_before(operand, start, products), start)
    rows = _rows_by_token(product)
    batch, tokens = _sizes(start, path, rows)
    lead = (batch, tokens) if rows is rows_of(product) else (batch * tokens,)
    numbers = np.arange(batch * tokens * site.out_features).reshape(*lead, site.out_features)
    trace = SourceTrace({start: numbers}, (batch, tokens, site.out_features))
    for value in path:
        trace.follow(value.producer())
    value = path[-1] if path else start
    known = trace.numbers
    heads, axes, merged = decoded(known[value], (batch, tokens, site.out_features))
    columns, group_of = np.unique(heads, axis=0, return_inverse=True)
    scalings = tuple(node for each in path if (node := each.producer()) is not None and not is_entry_move(node))
    trace.follow_aside(value)
    told = {product.outputs[0]: numbers, **known}
    shapes = {each: sizes_of(told[each] // site.out_features, (batch, tokens)) for each in told}
    repeated = tuple(group_of.reshape(-1).tolist())  # numpy 2.0 returns a column
    return HeadSource(value, product, site, columns, repeated, axes, merged, scalings, rows, shapes, (batch, tokens))


def sizes_of(token: np.ndarray, sizes: tuple[int, int]) -> tuple[Size, ...]:
    """Return the sizes of the axes of a value, given which ``token`` (of all in the batch) each of its entries is of."""
    batch, tokens = sizes
    found = []
    for axis, size in enumerate(token.shape):
        in_batch, in_text = (bool(np.ptp(each, axis=axis).any()) for each in (token // tokens, token % tokens))
        found.append(Size(size // ((batch if in_batch else 1) * (tokens if in_text else 1)), in_batch, in_text))
    return tuple(found)


@dataclass(eq=False)
class SourceTrace:
    """The ``numbers`` of values that entries were moved to, given the shape of what lies ``beyond``."""

    numbers: dict[ir.Value, np.ndarray]
    beyond: tuple[int, ...]

    def follow(self, node: ir.Node | None) -> None:
        """Add what ``node`` returns, which moves entries or scales them."""
        assert node is not None, "found by going from the start"
        if is_entry_move(node):
            moves = moved(node, self.numbers, {}, self.beyond)
            self.numbers |= dict(zip(node.outputs, moves, strict=True))
        else:
            same = next(each for each in node.inputs if each in self.numbers)
            self.numbers[node.outputs[0]] = self.numbers[same]

    def follow_aside(self, end: ir.Value) -> None:
        """Add whatever else entries are moved to before ``end``, as far as it can be computed: its shape may be read."""
        pending = list(self.numbers)
        while pending:
            value = pending.pop()
            readers = [] if value is end else [node for node, index in value.uses() if _passes_on(node, index)]
            for node in readers:
                if node.outputs[0] not in self.numbers:
                    with suppress(UncomputableError):
                        self.follow(node)
                        pending.extend(node.outputs)


def is_entry_move(node: ir.Node) -> bool:
    """Whether ``node`` returns entries of its first operand and nothing else."""
    return (is_move(node) and op_of(node) != "Concat") or op_of(node) in _FURTHER_MOVES


def _last_before(operand: ir.Value, start: ir.Value, products: Products) -> list[ir.Value]:
    """Return the last values between ``start`` and ``operand`` that are moved entries, and read by nothing but moves before."""
    towards = set(upstream(operand, products.__contains__))
    seen, pending, last = {start}, [start], []
    while pending:
        value = pending.pop()
        readers = [(node, index) for node, index in value.uses() if index in data_operands(node)]
        if value is operand or not all(_passes_on(node, index) for node, index in readers):
            last.append(value)
            continue
        outputs = [each for node, _ in readers if node in towards for each in node.outputs]
        further = [each for each in outputs if each is operand or any(user in towards for user, _ in each.uses())]
        pending.extend(each for each in further if each not in seen)
        seen.update(further)
    return last


def _passes_on(node: ir.Node, index: int) -> bool:
    if is_entry_move(node):
        return index == 0
    if op_of(node) not in SCALINGS or (op_of(node) == "Div" and index == 1):
        return False
    tensor = constant_tensor(node.inputs[1 - index])
    return tensor is not None and tensor.size == 1


def _path_to(last: Sequence[ir.Value], start: ir.Value) -> list[ir.Value]:
    """Return the values from ``start``, which is not among them, to the last one that all of ``last`` are computed from."""
    paths = [[*reversed(list(_back(value, start)))] for value in last]
    if not paths:
        raise NotABlockError
    common: list[ir.Value] = []
    for values in zip(*paths, strict=False):
        if any(value is not values[0] for value in values):
            break
        common.append(values[0])
    return common


def _back(value: ir.Value, start: ir.Value) -> Iterator[ir.Value]:
    while value is not start:
        yield value
        node = value.producer()
        assert node is not None, "found by going from the start"
        operands = node.inputs[:1] if is_entry_move(node) else node.inputs
        value = next(each for each in operands if each is not None and constant_tensor(each) is None)


def _rows_by_token(product: ir.Node) -> ir.Value:
    """Return what ``product`` multiplies with an axis for the tokens: before a Reshape to a matrix, if there is one."""
    rows = rows_of(product)
    node = rows.producer()
    flat = op_of(product) in {"Gemm", "com.microsoft.FusedGemm"} or (rows.shape is not None and len(rows.shape) == 2)
    if not flat:
        return rows
    before = None if node is None or op_of(node) != "Reshape" else node.inputs[0]
    if before is None or (before.shape is not None and len(before.shape) != 3):
        raise NotABlockError
    return before


def _sizes(start: ir.Value, path: Sequence[ir.Value], rows: ir.Value) -> tuple[int, int]:
    """Return the batch and the tokens to compute with: fixed ones where the graph says so."""
    node = start.producer()
    assert node is not None and isinstance(node.graph, ir.Graph), "sites lie in the main graph"
    sizes = batch_and_tokens(node.graph)
    known = rows.shape.dims if rows.shape is not None and len(rows.shape) == 3 else ()
    reshape = next(
        (node for value in path if (node := value.producer()) is not None and op_of(node) == "Reshape"), None
    )
    sizes = sizes if reshape is None else fixed_sizes(reshape, sizes)
    fixed = (
        [size for size in known if isinstance(size, int)] if all(isinstance(size, int) for size in known[:2]) else []
    )
    return (fixed[0], fixed[1]) if len(fixed) > 1 else sizes


def decoded(numbers: np.ndarray, sizes: tuple[int, int, int]) -> tuple[np.ndarray, tuple[int, ...], bool]:
    """Return which column each dimension of each head is, (heads, width), the order of the axes, and whether two are merged."""
    batch, tokens, features = sizes
    merged = numbers.ndim == 3 and numbers.shape[0] % batch == 0 and numbers.shape[0] > 0
    split = numbers.reshape(batch, -1, *numbers.shape[1:]) if merged else numbers
    if split.ndim != len(NATURAL):
        raise UncomputableError("heads have four axes")
    if merged and split.shape[1] == 1:
        raise UncomputableError("nothing is split into heads")
    token = np.arange(batch * tokens).reshape(batch, tokens, 1, 1)
    for axes in permutations(NATURAL):
        natural = split.transpose(np.argsort(axes))
        if natural.shape[:2] != (batch, tokens) or not np.array_equal(
            natural // features, np.broadcast_to(token, natural.shape)
        ):
            continue
        columns: np.ndarray = natural[0, 0] % features
        if np.all(np.diff(columns, axis=1) == 1) and np.array_equal(
            natural % features, np.broadcast_to(columns, natural.shape)
        ):
            return columns, axes, merged
    raise UncomputableError("what is moved is no heads of tokens")
