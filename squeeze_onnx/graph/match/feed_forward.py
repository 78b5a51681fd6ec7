"""Feed-forward blocks: a layer of neurons between weights, where every neuron can be taken out on its own.

    x ─► MatMul(W_in) ─► Add(bias) ─► anything elementwise ─► MatMul(W_out) ─► y

    x ─► MatMul(W_up) ────────────► Mul ─► MatMul(W_down) ─► y       (gated: two weights before the neurons)
    x ─► MatMul(W_gate) ─► Swish ───┘

A neuron is a column of every weight before, an entry of every constant vector between, and a row of the weight after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_tensor, is_constant
from squeeze_onnx.graph.match.operators import ELEMENTWISE, WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite


@dataclass(frozen=True)
class FeedForward:
    """One block.

    before, after: the sites around the neurons. vectors: the operands (node, index) with an entry for each neuron. values: what
    has the neurons along its last axis.
    """

    before: tuple[MatMulSite, ...]
    after: MatMulSite
    vectors: tuple[tuple[ir.Node, int], ...]
    values: tuple[ir.Value, ...]

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

    def shapes(self, columns: int) -> dict[str, tuple[int, int]]:
        """Return the shapes of the weights by site if so many neurons stay."""
        before = {site.name: (site.in_features, columns) for site in self.before}
        return before | {self.after.name: (columns, self.after.out_features)}


class _NotABlock(Exception):  # noqa: N818
    """Something between the weights is not done to each neuron on its own."""


def find_feed_forwards(sites: Sequence[MatMulSite]) -> tuple[FeedForward, ...]:
    """Return the blocks that lie wholly among ``sites``, in graph order; a weight is before, or after, one block only."""
    products = {
        site.nodes[0]: site
        for site in sites
        if len(site.nodes) == 1 and not WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup
    }
    blocks: list[FeedForward] = []
    for site in products.values():
        try:
            blocks.append(_block(site, products))
        except _NotABlock:
            continue
    return tuple(blocks)


def _block(after: MatMulSite, products: Mapping[ir.Node, MatMulSite]) -> FeedForward:
    reader = after.nodes[0]
    pending: list[ir.Value | None] = [rows_of(reader)]
    inside = {reader}
    vectors: list[tuple[ir.Node, int]] = []
    values: dict[ir.Value, None] = {}
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if value is None or node is None or len(node.outputs) > 1 or value.is_graph_output():
            raise _NotABlock
        values[value] = None
        if node in inside:
            continue
        inside.add(node)
        for index in _operands(node, products):
            operand = node.inputs[index]
            tensor = constant_tensor(operand)
            if tensor is None and not is_constant(operand):
                pending.append(operand)
            elif tensor is None or not (tensor.size == 1 or tensor.shape.numpy() == (after.in_features,)):
                raise _NotABlock
            elif tensor.size > 1:
                vectors.append((node, index))
    before = tuple(site for product, site in products.items() if product in inside and site is not after)
    if not before or any(site.out_features != after.in_features for site in before):
        raise _NotABlock
    if any(user not in inside for value in values for user, _ in value.uses()):
        raise _NotABlock
    return FeedForward(before, after, tuple(vectors), tuple(values))


def _operands(node: ir.Node, products: Mapping[ir.Node, MatMulSite]) -> Iterator[int]:
    """Yield the operands of ``node`` that have the neurons along their last axis, or are the same for all of them."""
    if node in products:
        bias = WEIGHT_OPERATORS[op_of(node)].bias
        operands = [] if bias is None else [bias]
    elif op_of(node) in ELEMENTWISE:
        operands = list(range(len(node.inputs)))
    else:
        raise _NotABlock
    yield from (index for index in operands if index < len(node.inputs) and node.inputs[index] is not None)
