"""The parts of an attention that a block of heads is made of: products of weights, how they become heads, and what reads them.

    x ─► MatMul(weight) ─► Add(bias) ─► Reshape(…, heads, width) ─► …          a `PackedSplit`
    … ─► Reshape(…, heads · width) or Flatten ─► MatMul(weight)                a `Join`

Whatever else lies in between is not read but computed, see `squeeze_onnx.graph.match.attention_heads`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.behaviour import batch_and_tokens
from squeeze_onnx.graph.match.caches import Cache, cache_at, holds_heads, is_shown, tells_width
from squeeze_onnx.graph.match.constants import constant_vector
from squeeze_onnx.graph.match.consumers import Bias, find_bias_at
from squeeze_onnx.graph.match.dataflow import downstream, upstream
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, data_operands, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite

INFERRED = -1
"""What stands in the operand of a Reshape for the size that follows from the others."""
COPIED = 0
"""What stands there for the size that the operand has at this place."""

NATURAL = (0, 1, 2, 3)
"""The axes of heads as a Reshape makes them: batch, tokens, heads, width."""

Products = Mapping[ir.Node, MatMulSite]
"""The site of each node that multiplies with a weight, lookups aside."""


class NotABlockError(Exception):
    """Something about an attention is not as it has to be."""


@dataclass(frozen=True, eq=False)
class PackedSplit:
    """One product of a ``site``, its bias, and the Reshape that splits its columns into ``heads`` × width."""

    site: MatMulSite
    product: ir.Node
    bias: Bias | None
    reshape: ir.Node
    heads: int

    @property
    def width(self) -> int:
        """The columns of one head."""
        return self.site.out_features // self.heads

    @property
    def split(self) -> ir.Value:
        """The heads: (batch, tokens, heads, width)."""
        return self.reshape.outputs[0]

    @property
    def values(self) -> tuple[ir.Value, ...]:
        """What has the columns of all heads along its last axis."""
        product = self.product.outputs[0]
        return (product,) if self.bias is None else tuple(dict.fromkeys((product, self.bias.node.outputs[0])))

    def sizes(self) -> tuple[int, int]:
        """Return the batch and the tokens that the graph runs with at this place, small ones where it leaves them open."""
        assert isinstance(self.product.graph, ir.Graph), "sites lie in the main graph"
        return fixed_sizes(self.reshape, batch_and_tokens(self.product.graph))


@dataclass(frozen=True, eq=False)
class Join:
    """The ``node`` that puts heads side by side again, and the product of a ``site`` that alone reads them."""

    node: ir.Node
    product: ir.Node
    site: MatMulSite

    @property
    def joined(self) -> ir.Value:
        """The heads, side by side."""
        return rows_of(self.product)

    @property
    def unjoined(self) -> ir.Value:
        """The heads before: (batch, tokens, heads, width)."""
        value = self.node.inputs[0]
        assert value is not None, "a Reshape reads something"
        return value


def split_before(operand: ir.Value, products: Products) -> PackedSplit:
    """Return the product that ``operand`` of an attention is made of; raise NotABlockError if it is not plainly split."""
    found = list(dict.fromkeys(node for node in upstream(operand, products.__contains__) if node in products))
    if len(found) != 1:
        raise NotABlockError
    [product] = found
    site = products[product]
    if site.weight.decoding:
        raise NotABlockError
    bias = find_bias_at(product, site.out_features)
    value = product.outputs[0] if bias is None else bias.node.outputs[0]
    readers = [node for node, index in value.uses() if index in data_operands(node)]
    if len(readers) != 1 or op_of(readers[0]) != "Reshape":
        raise NotABlockError
    *_, count, size = (COPIED, COPIED, *last_entries(readers[0].inputs[1]))
    heads = count if count > 0 else site.out_features // size if size > 0 else 0
    if heads < 1 or site.out_features % heads or size not in (site.out_features // heads, INFERRED):
        raise NotABlockError
    return PackedSplit(site, product, bias, readers[0], heads)


def join_after(context: ir.Value, products: Products) -> Join:
    """Return the product that alone reads ``context``, the heads of an attention; raise NotABlockError if there is none."""
    product = next((node for node in downstream(context, products.__contains__) if node in products), None)
    if product is None or products[product].weight.decoding:
        raise NotABlockError
    joined, operator = rows_of(product), WEIGHT_OPERATORS[op_of(product)]
    node = joined.producer()
    if [(product, operator.rows)] != list(joined.uses()) or joined.is_graph_output() or node is None:
        raise NotABlockError
    plain = op_of(node) == "Reshape" and last_entries(node.inputs[1])[-1:] in (
        [products[product].in_features],
        [INFERRED],
    )
    if not plain and op_of(node) != "Flatten":
        raise NotABlockError
    return Join(node, product, products[product])


def touched(sources: Iterable[ir.Value], end: ir.Value) -> Iterator[ir.Value]:
    """Yield all that is computed from ``sources`` up to ``end``; NotABlockError if more of the model than this comes of it.

    What a cache returns may be seen, and how many texts and tokens it holds.
    """
    pending = list(sources)
    seen: set[ir.Value] = set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        if is_shown(value):
            raise NotABlockError
        seen.add(value)
        yield value
        if value is not end:
            readers = [node for node, _ in value.uses() if not holds_heads(value) or tells_width(node)]
            pending.extend(output for node in readers for output in node.outputs)


def caches_among(values: Iterable[ir.Value]) -> tuple[Cache, ...]:
    """Return the caches that ``values``, all that has the width of some heads, are put into.

    NotABlockError if something else knows the width of what comes in.
    """
    found = tuple(cache for value in values if (cache := cache_at(value.producer())) is not None)
    for cache in found:
        others = [node for node, _ in cache.past.uses() if node is not cache.node]
        if cache.width is None or any(map(tells_width, others)) or cache.past.is_graph_output():
            raise NotABlockError
    return found


def last_entries(shape: ir.Value | None) -> list[int]:
    """Return the entries at the end of a ``shape`` that are constant: all, or the last that a Concat joins to others."""
    entries: list[int] = []
    for piece in reversed(_pieces(shape)):
        tensor = constant_vector(piece)
        if tensor is None:
            break
        entries = [*tensor.numpy().tolist(), *entries]
    return entries


def fixed_sizes(reshape: ir.Node, otherwise: tuple[int, int]) -> tuple[int, int]:
    """Return what ``reshape`` and what it reads say of the batch and the tokens, the first two axes; else ``otherwise``."""
    said: list[int] = []
    for piece in _pieces(reshape.inputs[1]):
        tensor = constant_vector(piece)
        said.extend([INFERRED] if tensor is None else tensor.numpy().tolist())
    rows = reshape.inputs[0]
    known = [] if rows is None or rows.shape is None or len(rows.shape) != 3 else list(rows.shape.dims)
    sizes = []
    for axis, size in enumerate(otherwise):
        candidates = [entries[axis] for entries in (known, said) if axis < len(entries)]
        sizes.append(next((entry for entry in candidates if isinstance(entry, int) and entry > 0), size))
    return sizes[0], sizes[1]


def _pieces(shape: ir.Value | None) -> list[ir.Value | None]:
    producer = None if shape is None else shape.producer()
    return list(producer.inputs) if producer is not None and op_of(producer) == "Concat" else [shape]
