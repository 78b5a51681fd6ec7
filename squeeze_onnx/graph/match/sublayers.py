"""Sublayers that a model runs without: an attention, or a feed-forward block, whose product joins a residual stream.

    stream ─┬─► query, key, value ─► … ─► MatMul(output) ─► Add(bias) ─┐
            └──────────────────────────────────────────────────────────┴─► Add ─► …

Without it the stream passes through, with a constant in the place of the product. What goes is all that only the product was
computed for: the weights, what lies between, and, where a layer is normalized before, the normalization.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import foldable_values
from squeeze_onnx.graph.match.consumers import find_join
from squeeze_onnx.graph.match.dataflow import joins
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, mixes, op_of
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite

_ADDS_TWO = "Add"

ATTENTION = frozenset({Role.QUERY, Role.KEY, Role.VALUE, Role.QUERY_KEY_VALUE, Role.ATTENTION_OUTPUT})
FEED_FORWARD = frozenset({Role.FFN_IN, Role.FFN_OUT})


@dataclass(frozen=True, eq=False)
class Sublayer:
    """All ``sites`` of one attention or feed-forward block, in graph order, the last one being that whose product joins.

    join, operand: the addition to the stream, and the operand of it that is the product with its bias. nodes: what is computed
    for that alone, in graph order.
    """

    sites: tuple[MatMulSite, ...]
    join: ir.Node
    operand: int
    nodes: tuple[ir.Node, ...]

    @property
    def name(self) -> str:
        """The name of the last site, which no other sublayer has."""
        return self.after.name

    @property
    def after(self) -> MatMulSite:
        """The site whose product joins the stream."""
        return self.sites[-1]

    @property
    def is_attention(self) -> bool:
        """Whether it is an attention, and no feed-forward block."""
        return self.after.role in ATTENTION

    @property
    def branch(self) -> ir.Value:
        """What is added to the stream: (…, features)."""
        value = self.join.inputs[self.operand]
        assert value is not None, "an addition has two operands"
        return value

    @property
    def stream(self) -> ir.Value:
        """What passes through: (…, features)."""
        value = self.join.inputs[1 - self.operand]
        assert value is not None, "an addition has two operands"
        return value


def find_sublayers(sites: Sequence[MatMulSite], among: Collection[str] | None = None) -> tuple[Sublayer, ...]:
    """Return the sublayers of a model that can go, in graph order; all ``sites`` of the model are given.

    One goes only as a whole: nothing else of the model, and no output of it, may need what is computed for it, and all its
    weights have to be ``among`` those of these names.
    """
    found = []
    products = {node: site for site in sites for node in site.nodes}
    for graph in dict.fromkeys(node.graph for node in products):
        if not isinstance(graph, ir.Graph):
            continue
        # The stream before the first layer comes out of lookups, which mix nothing.
        meets, fixed = joins(graph, lambda node: mixes(node) or node in products), foldable_values(graph)
        order = {node: index for index, node in enumerate(graph)}
        for site in sites:
            sublayer = _sublayer(site, products, meets, order)
            if sublayer is not None and sublayer.stream not in fixed:  # else its shape is not that of the tokens
                found.append(sublayer)
    if among is None:
        return tuple(found)
    return tuple(each for each in found if all(site.name in among for site in each.sites))


def _sublayer(
    after: MatMulSite,
    products: dict[ir.Node, MatMulSite],
    meets: Collection[ir.Node],
    order: dict[ir.Node, int],
) -> Sublayer | None:
    kind = next((roles for roles in (ATTENTION, FEED_FORWARD) if after.role in roles), None)
    node = after.nodes[0]
    if kind is None or len(after.nodes) > 1 or node not in order or WEIGHT_OPERATORS[op_of(node)].lookup:
        return None
    found = find_join(after, meets)
    if found is None or op_of(found[0]) != _ADDS_TWO:
        return None
    join, operand = found
    gone = _only_for(join, operand)
    stream = join.inputs[1 - operand]
    if all(stream not in each.inputs for each in gone):  # it adds to something else than what it reads
        return None
    going = {products[each] for each in gone if each in products}
    whole = {site for site in products.values() if site.layer == after.layer and site.role in kind}
    if node not in gone or not whole <= going or any(each not in gone for site in going for each in site.nodes):
        return None
    others = sorted(going - {after}, key=lambda site: order[site.nodes[0]])
    return Sublayer((*others, after), join, operand, tuple(sorted(gone, key=order.__getitem__)))


def _only_for(join: ir.Node, operand: int) -> set[ir.Node]:
    """Return the nodes that nothing needs but this ``operand`` of ``join``."""
    gone: set[ir.Node] = set()
    pending = [join.inputs[operand]]
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if node is None or node in gone or not _only_needed_by(node, gone, join, operand):
            continue
        gone.add(node)
        pending.extend(node.inputs)
    return gone


def _only_needed_by(node: ir.Node, gone: Collection[ir.Node], join: ir.Node, operand: int) -> bool:
    """Whether ``gone`` and that ``operand`` of ``join`` alone need what ``node`` computes."""
    for output in node.outputs:
        if output.is_graph_output():
            return False
        if any(user not in gone and (user, index) != (join, operand) for user, index in output.uses()):
            return False
    return True
