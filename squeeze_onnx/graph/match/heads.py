"""Attention heads that can be made thinner: weights that meet head by head, and the constants that know the width of a head.

    x ─► query ─► Reshape(…, heads, width) ─► …  ┐
                                                  MatMul ─► scores          QueryKey: nothing else sees this width
    y ─► key ───► Reshape(…, heads, width) ─► …  ┘

    y ─► value ─► Reshape(…, heads, width) ─► … ─► MatMul(probabilities, ·) ─► … ─► Reshape(…, heads · width) ─► output

The second pair is ValueOutput; its width may be another one. That all between works at other widths, and which scale it then
has (some exports compute 1/√width from a shape, some store it), is found by computing it. Whatever is spelled otherwise, is
read elsewhere, rotated, shared between heads or fused is no block.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.behaviour import UncomputableError, batch_and_tokens, compute
from squeeze_onnx.graph.match.constants import constant_vector
from squeeze_onnx.graph.match.consumers import Bias, find_bias
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, data_operands, op_of
from squeeze_onnx.graph.match.projections import Projection
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.match.spelled_attention import SpelledAttention, fit_scale, spelled_attentions

INFERRED = -1
"""What stands in the operand of a Reshape for the size that follows from the others."""


@dataclass(frozen=True, eq=False)
class Projected:
    """A site before the heads: its bias, and the Reshape that splits its columns into ``heads`` × width."""

    site: MatMulSite
    bias: Bias | None
    split: ir.Node
    heads: int

    @property
    def width(self) -> int:
        """The columns of one head."""
        return self.site.out_features // self.heads


@dataclass(frozen=True, eq=False)
class HeadBlock:
    """Sites that meet in the width of the heads, and what else has this width.

    before: what has it in its columns. after: what has it in its rows. joins: the Reshape nodes that put heads side by side.
    values: what may have the width in its shape.
    """

    before: tuple[Projected, ...]
    after: tuple[MatMulSite, ...]
    joins: tuple[ir.Node, ...]
    values: tuple[ir.Value, ...]

    @property
    def name(self) -> str:
        """The name of its last site, which no other block has."""
        return self.sites[-1].name

    @property
    def sites(self) -> tuple[MatMulSite, ...]:
        """All sites of the block."""
        return (*(projected.site for projected in self.before), *self.after)

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return self.before[0].heads

    @property
    def parts(self) -> int:
        """Its columns come in that many equal parts."""
        return self.heads

    @property
    def columns(self) -> int:
        """The columns of all heads together."""
        return self.before[0].site.out_features

    def shapes(self, columns: int) -> dict[str, tuple[int, int]]:
        """Return the shapes of the weights by site if so many columns stay."""
        before = {projected.site.name: (projected.site.in_features, columns) for projected in self.before}
        return before | {site.name: (columns, site.out_features) for site in self.after}

    def reshapes(self, columns: int) -> list[tuple[ir.Node, int]]:
        """Return each Reshape with the last entry of its shape if so many columns stay."""
        splits = [(projected.split, columns // self.heads) for projected in self.before]
        return [*splits, *((join, columns) for join in self.joins)]


@dataclass(frozen=True, eq=False)
class QueryKey(HeadBlock):
    """Query and key, known to the model by the scores query · keyᵀ of each head, before a softmax over the keys."""

    core: "_Core"

    def scale_correction(self, width: int) -> float:
        """Return by what to multiply the scores of heads of ``width`` so that they are scaled as those of all columns."""
        return self.core.attention.scale / self.core.scale_at(width, self.core.value_width)


@dataclass(frozen=True, eq=False)
class ValueOutput(HeadBlock):
    """Value and attention output, known to the model by the product of the columns and rows of each head."""


Block = TypeVar("Block", bound=HeadBlock)
Products = Mapping[ir.Node, MatMulSite]


def find_query_keys(sites: Sequence[MatMulSite]) -> tuple[QueryKey, ...]:
    """Return the pairs of query and key among ``sites`` whose heads can be made thinner, in graph order."""

    def block(core: _Core, products: Products) -> QueryKey:
        query, key = (core.projected(index, products) for index in (0, 1))
        return QueryKey((query, key), (), (), core.values, core)

    return _blocks(sites, block)


def find_value_outputs(sites: Sequence[MatMulSite]) -> tuple[ValueOutput, ...]:
    """Return the pairs of value and attention output among ``sites`` whose heads can be made thinner, in graph order."""

    def block(core: _Core, products: Products) -> ValueOutput:
        return ValueOutput((core.projected(2, products),), (core.output(products),), (core.join,), core.values)

    return _blocks(sites, block)


class _NotABlock(Exception):  # noqa: N818
    """Something about an attention is not as it has to be."""


@dataclass(frozen=True, eq=False)
class _Core:
    """An attention, the Reshape nodes that split query, key and value into heads, and the one that joins them again."""

    attention: SpelledAttention
    splits: tuple[ir.Node, ...]
    join: ir.Node
    values: tuple[ir.Value, ...]

    @property
    def width(self) -> int:
        """The width of query and key."""
        return self.attention.query.features // self.attention.heads

    @property
    def value_width(self) -> int:
        """The width of value."""
        return self.attention.value.features // self.attention.heads

    def projected(self, index: int, products: Products) -> Projected:
        """Return query, key or value, if it is one of ``products`` and its weight and bias may change."""
        projection = self.attention.projections[index]
        site = products.get(_producer(projection.product))
        if site is None or site.weight.decoding:
            raise _NotABlock
        bias = find_bias(site)
        if (None if bias is None else bias.node.inputs[bias.operand]) is not projection.biased.bias:
            raise _NotABlock
        return Projected(site, bias, self.splits[index], self.attention.heads)

    def output(self, products: Products) -> MatMulSite:
        """Return the only reader of the joined heads, if it is one of ``products`` and its weight may change."""
        readers = list(self.attention.context.uses())
        site = products.get(readers[0].node) if len(readers) == 1 else None
        if site is None or site.weight.decoding or WEIGHT_OPERATORS[op_of(site.nodes[0])].rows != readers[0].idx:
            raise _NotABlock
        return site

    def scale_at(self, width: int, value_width: int) -> float:
        """Return the scale that the attention has at other widths; raise UncomputableError if it is none then."""
        random = np.random.default_rng(0)
        batch, tokens = batch_and_tokens(_graph(self.join))
        dtype = self.attention.query.weight.dtype.numpy()
        heads = self.attention.heads
        query, key, value = (
            random.standard_normal((batch, tokens, heads, size)).astype(dtype) for size in (width, width, value_width)
        )
        bias = random.standard_normal((batch, 1, tokens, tokens)).astype(dtype)
        given = dict(zip((split.outputs[0] for split in self.splits), (query, key, value), strict=True))
        unjoined = self.join.inputs[0]
        assert unjoined is not None
        scores, context = compute(
            [self.attention.logits, unjoined],
            given | dict.fromkeys(self.attention.biases, bias),
            shape_beyond=(batch, tokens, heads * width),
        )
        return fit_scale(scores, context, (query, key, value), len(self.attention.biases) * bias)


def _blocks(sites: Sequence[MatMulSite], make: Callable[[_Core, Products], Block]) -> tuple[Block, ...]:
    products = {site.nodes[0]: site for site in sites if len(site.nodes) == 1}
    found: list[Block] = []
    for graph in dict.fromkeys(_graph(node) for node in products):
        for attention in spelled_attentions(graph):
            try:
                found.append(make(_core(attention), products))
            except (_NotABlock, UncomputableError):
                continue
    return tuple(found)


def _core(attention: SpelledAttention) -> _Core:
    heads, value = attention.heads, attention.value
    splits = tuple(
        _split(projection, heads, projection.features // heads)
        for projection in (attention.query, attention.key, value)
    )
    join = _producer(attention.context)
    if op_of(join) != "Reshape" or _last_entries(join.inputs[1])[-1:] not in ([value.features], [INFERRED]):
        raise _NotABlock
    core = _Core(attention, splits, join, tuple(_touched(attention)))
    if min(core.width, core.value_width) > 1:
        core.scale_at(
            core.width // 2, core.value_width - 1
        )  # it works at widths that are different, and not the old ones
    return core


def _split(projection: Projection, heads: int, width: int) -> ir.Node:
    readers = [node for node, index in projection.value.uses() if index in data_operands(node)]
    if len(readers) != 1 or op_of(readers[0]) != "Reshape":
        raise _NotABlock
    *_, count, size = (0, 0, *_last_entries(readers[0].inputs[1]))
    if count not in (heads, INFERRED) or size not in (width, INFERRED):
        raise _NotABlock
    return readers[0]


def _last_entries(shape: ir.Value | None) -> list[int]:
    """Return the entries at the end of a ``shape`` that are constant: all, or the last that a Concat joins to others."""
    producer = None if shape is None else shape.producer()
    pieces = list(producer.inputs) if producer is not None and op_of(producer) == "Concat" else [shape]
    entries: list[int] = []
    for piece in reversed(pieces):
        tensor = constant_vector(piece)
        if tensor is None:
            break
        entries = [*tensor.numpy().tolist(), *entries]
    return entries


def _touched(attention: SpelledAttention) -> Iterator[ir.Value]:
    """Yield all that is computed from the projections up to the context; _NotABlock if more than the context comes of it."""
    pending = [value for each in attention.projections for value in (each.product, each.value)]
    seen: set[ir.Value] = set()
    while pending:
        value = pending.pop()
        if value in seen:
            continue
        if value.is_graph_output() or value in attention.biases:
            raise _NotABlock
        seen.add(value)
        yield value
        if value is not attention.context:
            pending.extend(output for node, _ in value.uses() for output in node.outputs)


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    if node is None:
        raise _NotABlock
    return node


def _graph(node: ir.Node) -> ir.Graph:
    assert isinstance(node.graph, ir.Graph), "sites lie in the main graph"
    return node.graph
