"""Feed-forward blocks: a layer of neurons between weights, where every neuron can be taken out on its own.

    x ─► MatMul(W_in) ─► Add(bias) ─► anything elementwise ─► MatMul(W_out) ─► y

    x ─► MatMul(W_up) ────────────► Mul ─► MatMul(W_down) ─► y       (gated: two weights before the neurons)
    x ─► MatMul(W_gate) ─► Swish ───┘

    x ─► MatMul(W_up|gate) ─► Split ─► … ─► Mul ─► MatMul(W_down) ─► y      (packed: two columns of one weight a neuron)

A neuron is one or more columns of every weight before, an entry of every constant between, and a row of the weight after. What
belongs together is found by following the columns (`column_trace`): halves, pairs, any spelling. A weight that several layers
share is sliced alike in all of them, so all its uses have to be blocks that agree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.behaviour import UncomputableError
from squeeze_onnx.graph.match.column_edits import Edit, NotResizableError, edits_between
from squeeze_onnx.graph.match.column_trace import ColumnTrace, is_move, moved_operands
from squeeze_onnx.graph.match.constants import constant_tensor, constant_vector, is_constant
from squeeze_onnx.graph.match.operators import (
    ELEMENTWISE,
    PACKED_ATTENTION,
    WEIGHT_OPERATORS,
    op_of,
    rows_of,
)
from squeeze_onnx.graph.match.sites import MatMulSite

_SHAPES_ONLY = frozenset({"Shape", "Size"})
_LEADS: Mapping[int, tuple[int, ...]] = {1: (), 2: (6,), 3: (2, 3), 4: (2, 1, 3)}
"""By the number of axes: sizes to follow columns with, small, the same number of rows in all."""


@dataclass(frozen=True, eq=False)
class _Use:
    """One place of a block: the nodes between the products, in graph order, and the columns of all values there.

    neurons: of each number of a column, the row of the weight after that it belongs to. starts: the first number by site.
    """

    trace: ColumnTrace
    between: tuple[ir.Node, ...]
    products: tuple[ir.Node, ...]
    neurons: np.ndarray
    starts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class FeedForward:
    """One block.

    before, after: the sites around the neurons. neurons: for each site before, by name, the neuron of each column. uses: the
    places where it stands, one unless layers share its weights.
    """

    before: tuple[MatMulSite, ...]
    after: MatMulSite
    neurons: Mapping[str, np.ndarray]
    uses: tuple[_Use, ...]

    @property
    def name(self) -> str:
        """The name of the site after, which no other block has."""
        return self.after.name

    @property
    def sites(self) -> tuple[MatMulSite, ...]:
        """All sites of the block."""
        return (*self.before, self.after)

    @property
    def columns(self) -> int:
        """How many neurons there are."""
        return self.after.in_features

    @property
    def parts(self) -> int:
        """Any neuron can go."""
        return 1

    def columns_each(self, site: MatMulSite) -> int:
        """Return how many columns of ``site``, one before, a neuron has."""
        return site.out_features // self.columns

    def shapes(self, columns: int) -> dict[str, tuple[int, int]]:
        """Return the shapes of the weights by site if so many neurons stay."""
        before = {site.name: (site.in_features, columns * self.columns_each(site)) for site in self.before}
        return before | {self.after.name: (columns, self.after.out_features)}

    def kept_columns(self, site: MatMulSite, kept: np.ndarray) -> np.ndarray:
        """Return which columns of ``site``, one before, stay with the neurons ``kept`` (indices), ascending."""
        return np.flatnonzero(np.isin(self.neurons[site.name], kept))

    def edits(self, kept: np.ndarray) -> list[Edit]:
        """Return what else has to change so that the neurons ``kept`` (indices) stay."""
        return [edit for use in self.uses for edit in _edits(use, kept)]

    def shapes_between(self, kept: np.ndarray) -> Iterator[tuple[ir.Value, tuple[int | None, ...]]]:
        """Yield what lies between, and its sizes if the neurons ``kept`` stay; None for those that do not change."""
        for use in self.uses:
            stays = np.isin(use.neurons, kept)
            for value, numbers in use.trace.numbers.items():
                sizes = [stays[numbers].any(axis=_others(numbers, axis)) for axis in range(numbers.ndim)]
                yield value, tuple(None if size.all() else int(size.sum()) for size in sizes)


class _NotABlock(Exception):  # noqa: N818
    """Something between the weights is not done to each neuron on its own."""


def find_feed_forwards(sites: Sequence[MatMulSite]) -> tuple[FeedForward, ...]:
    """Return the blocks that lie wholly among ``sites``, in graph order; a weight is before, or after, one block only."""
    products = {node: site for site in sites for node in site.nodes if not WEIGHT_OPERATORS[op_of(node)].lookup}
    blocks: list[FeedForward] = []
    for site in dict.fromkeys(products.values()):
        try:
            blocks.append(_block(site, products))
        except (_NotABlock, NotResizableError):
            continue
    return tuple(blocks)


def _block(after: MatMulSite, products: Mapping[ir.Node, MatMulSite]) -> FeedForward:
    uses = tuple(_use(node, after, products) for node in after.nodes)
    before = tuple(dict.fromkeys(products[node] for node in uses[0].products))
    neurons = {site.name: _neurons(uses[0], site) for site in before}
    for use in uses[1:]:
        if use.starts.keys() != neurons.keys() or any(
            not np.array_equal(_neurons(use, site), neurons[site.name]) for site in before
        ):
            raise _NotABlock
    if {node for site in before for node in site.nodes} != {node for use in uses for node in use.products}:
        raise _NotABlock
    for each in neurons.values():
        if len(np.unique(np.bincount(each, minlength=after.in_features))) > 1:
            raise _NotABlock
    rows = np.arange(after.in_features)
    for kept in (rows[1:], rows[rows % 3 != 1]):
        if 0 < len(kept) < len(rows):
            for use in uses:
                _edits(use, kept)
    return FeedForward(before, after, neurons, uses)


def _neurons(use: _Use, site: MatMulSite) -> np.ndarray:
    start = use.starts[site.name]
    return use.neurons[start : start + site.out_features]


def _edits(use: _Use, kept: np.ndarray) -> list[Edit]:
    return edits_between(use.trace, use.between, np.isin(use.neurons, kept))


def _use(reader: ir.Node, after: MatMulSite, products: Mapping[ir.Node, MatMulSite]) -> _Use:
    inside = _collect(reader, products)
    graph = reader.graph
    assert isinstance(graph, ir.Graph), "sites lie in the main graph"
    nodes = [node for node in graph if node in inside]
    starting = tuple(node for node in nodes if node in products)
    between = tuple(node for node in nodes if node not in products)
    starts: dict[str, int] = {}
    first = 0
    for site in dict.fromkeys(products[node] for node in starting):
        starts[site.name] = first
        first += site.out_features
    if len(starting) != len(starts):
        raise _NotABlock  # a weight that one block uses twice
    for small in (True, False):
        try:
            trace = _follow(nodes, products, starts, small=small)
            neurons = _rows_reached(trace, rows_of(reader), after.in_features)
        except (UncomputableError, ValueError):
            continue
        return _Use(trace, (*starting, *between), starting, neurons, starts)
    raise _NotABlock


def _collect(reader: ir.Node, products: Mapping[ir.Node, MatMulSite]) -> set[ir.Node]:
    """Return the products before ``reader`` and all nodes between, if nothing else reads what they compute but its shape."""
    pending: list[ir.Value | None] = [rows_of(reader)]
    inside: set[ir.Node] = set()
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if value is None or node is None:
            raise _NotABlock
        if node in inside:
            continue
        inside.add(node)
        pending.extend(_operands(node, products))
    for node in inside:
        for output in node.outputs:
            strangers = (user for user, _ in output.uses() if user not in inside and user is not reader)
            if output.is_graph_output() or any(op_of(user) not in _SHAPES_ONLY for user in strangers):
                raise _NotABlock
    return inside


def _operands(node: ir.Node, products: Mapping[ir.Node, MatMulSite]) -> Iterator[ir.Value]:
    """Yield what ``node`` reads of the neurons."""
    if node in products:
        if op_of(node) == PACKED_ATTENTION:
            raise _NotABlock
        return
    if is_move(node):
        yield from moved_operands(node)
    elif op_of(node) in ELEMENTWISE:
        for value in node.inputs:
            if value is not None and constant_tensor(value) is None:
                if is_constant(value):
                    raise _NotABlock
                yield value
    else:
        raise _NotABlock


def _follow(
    nodes: Sequence[ir.Node], products: Mapping[ir.Node, MatMulSite], starts: Mapping[str, int], *, small: bool
) -> ColumnTrace:
    trace = ColumnTrace(_beyond(nodes, small=small))
    for node in nodes:
        if node in products:
            site = products[node]
            trace.start(node.outputs[0], _lead(node, small=small), starts[site.name], site.out_features)
            bias = WEIGHT_OPERATORS[op_of(node)].bias
            constants = () if bias is None or bias >= len(node.inputs) else (node.inputs[bias],)
            if any(value is not None and constant_tensor(value) is None for value in constants):
                raise ValueError("a bias is computed")
        elif is_move(node):
            trace.move(node)
        else:
            tensors = [constant_tensor(value) for value in node.inputs if value not in trace.numbers]
            trace.tie(node, [tuple(tensor.shape.numpy()) for tensor in tensors if tensor is not None])
    return trace


def _lead(product: ir.Node, *, small: bool) -> tuple[int, ...]:
    """Return the sizes of a product but for its columns."""
    shapes = [shape for value in (product.outputs[0], rows_of(product)) if (shape := _known_shape(value)) is not None]
    ndim = 2 if "Gemm" in product.op_type else len(shapes[0]) if shapes else 3
    lead: tuple[int, ...] = _LEADS.get(ndim, (1,) * (ndim - 3) + (2, 3))
    sizes = zip(lead, shapes[0] if shapes else lead, strict=False)
    return lead if small else tuple(size if isinstance(size, int) else usual for usual, size in sizes)


def _known_shape(value: ir.Value) -> Sequence[object] | None:
    """Return the sizes that the graph tells of ``value``, or that the Reshape names that makes it."""
    if value.shape is not None:
        return value.shape.dims
    node = value.producer()
    named = None if node is None or op_of(node) != "Reshape" else constant_vector(node.inputs[1])
    return None if named is None else [size if size > 0 else None for size in named.numpy().tolist()]


def _beyond(nodes: Sequence[ir.Node], *, small: bool) -> tuple[int, ...]:
    """Return the shape of values outside."""
    leads = (_lead(node, small=small) for node in nodes if op_of(node) in WEIGHT_OPERATORS and not is_move(node))
    longest: tuple[int, ...] = max(leads, key=len, default=())
    return (*(longest if len(longest) > 1 else _LEADS[3]), 1)


def _rows_reached(trace: ColumnTrace, rows: ir.Value, count: int) -> np.ndarray:
    """Return for each number the row of the weight after that it belongs to; ValueError unless it is one for all."""
    parts = trace.parts()
    reached = parts[trace.numbers[rows].reshape(-1, count)]
    if reached.shape[0] > 1 and (reached != reached[0]).any():
        raise ValueError("a neuron lies elsewhere in another token")
    row_of = np.full(parts.max(initial=-1) + 1, -1)
    row_of[reached[0]] = np.arange(count)
    neurons: np.ndarray = row_of[parts]
    if (neurons < 0).any() or len(np.unique(reached[0])) < count:
        raise ValueError("some neurons belong together, or are not read")
    return neurons


def _others(numbers: np.ndarray, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(numbers.ndim) if other != axis)
