"""Attention heads that can be made thinner: weights that meet head by head, and the constants that know the width of a head.

    x ─► query ─► Reshape(…, heads, width) ─► …  ┐
                                                  MatMul ─► scores          QueryKey: nothing else sees this width
    y ─► key ───► Reshape(…, heads, width) ─► …  ┘

    y ─► value ─► Reshape(…, heads, width) ─► … ─► MatMul(probabilities, ·) ─► … ─► Reshape(…, heads · width) ─► output

The second pair is ValueOutput; its width may be another one. Keys and values may have fewer heads than queries, each shared by
some of these. A weight may serve several attentions, always together with the same other one. What lies between is found by
computing it: scores have to be a multiple of query · keyᵀ, and a change of basis of the value has to show in what is joined, both
at other widths too. Which scale the scores then have (some exports compute 1/√width from a shape, some store it) is found in the
same way. What is read elsewhere, rotated, spelled otherwise or fused is no block here; see `squeeze_onnx.graph.rewrite` for
what is done about that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.attention import AttentionCore, attention_cores
from squeeze_onnx.graph.match.attention_parts import (
    Join,
    NotABlockError,
    PackedSplit,
    Products,
    caches_among,
    join_after,
    split_before,
    touched,
)
from squeeze_onnx.graph.match.behaviour import UncomputableError
from squeeze_onnx.graph.match.caches import Cache
from squeeze_onnx.graph.match.consumers import Bias
from squeeze_onnx.graph.match.dataflow import downstream
from squeeze_onnx.graph.match.head_behaviour import score_scale, shared_value_heads
from squeeze_onnx.graph.match.operators import (
    ADDITIONS,
    ATTENTION,
    HEAD_LAYOUTS,
    SCALINGS,
    SOFTMAXES,
    WEIGHT_OPERATORS,
    mixes,
    op_of,
)
from squeeze_onnx.graph.match.sites import MatMulSite

_SHIFTS = ADDITIONS | HEAD_LAYOUTS | SCALINGS | {"Cast", "Sub", "Where"}
"""Through these, what is added to all scores of a query is still added to all of them, but where a mask takes their place."""


@dataclass(frozen=True, eq=False)
class Projected:
    """A site before the heads, and every place where its columns are split into ``heads`` × width."""

    site: MatMulSite
    splits: tuple[PackedSplit, ...]

    @property
    def heads(self) -> int:
        """How many heads its columns make."""
        return self.splits[0].heads

    @property
    def width(self) -> int:
        """The columns of one head."""
        return self.splits[0].width

    @property
    def biases(self) -> tuple[Bias, ...]:
        """What is added to its products: one and the same vector at every place, or nothing at any."""
        return tuple(split.bias for split in self.splits if split.bias is not None)

    @property
    def bias(self) -> Bias | None:
        """What is added to its product at the first place."""
        return self.splits[0].bias


@dataclass(frozen=True, eq=False)
class HeadBlock:
    """Sites that meet in the width of the heads, and what else has this width.

    before: what has it in its columns. after: what has it in its rows, and where. values: what may have the width in its shape.
    caches: what holds the keys or the values of earlier tokens, and has their width. Columns are counted where there are the
    fewest heads, ``groups``, those of keys or values.
    """

    before: tuple[Projected, ...]
    after: tuple[MatMulSite, ...]
    joins: tuple[Join, ...]
    values: tuple[ir.Value, ...]
    caches: tuple[Cache, ...]

    @property
    def name(self) -> str:
        """The name of its last site, which no other block has."""
        return self.sites[-1].name

    @property
    def sites(self) -> tuple[MatMulSite, ...]:
        """All sites of the block."""
        return (*(projected.site for projected in self.before), *self.after)

    @property
    def groups(self) -> int:
        """How many heads keys or values have."""
        return self.before[-1].heads

    @property
    def width(self) -> int:
        """The width of a head."""
        return self.before[-1].width

    @property
    def heads(self) -> int:
        """How many heads the attention has."""
        widest = [site.in_features for site in self.after] or [self.before[0].site.out_features]
        return widest[0] // self.width

    @property
    def parts(self) -> int:
        """Its columns come in that many equal parts."""
        return self.groups

    @property
    def columns(self) -> int:
        """The columns of all groups together."""
        return self.before[-1].site.out_features

    def together(self, same: Sequence[Self], **places: Any) -> Self:
        """Return the block of all ``places`` that the blocks of the ``same`` sites have."""
        return replace(self, **places)

    def shapes(self, columns: int) -> dict[str, tuple[int, int]]:
        """Return the shapes of the weights by site if so many columns stay."""
        before = {each.site.name: (each.site.in_features, columns * each.heads // self.groups) for each in self.before}
        return before | {site.name: (columns * self.heads // self.groups, site.out_features) for site in self.after}

    def reshapes(self, columns: int) -> Iterator[tuple[ir.Node, int]]:
        """Yield each Reshape with the last entry of its shape if so many columns stay."""
        width = columns // self.groups
        yield from ((split.reshape, width) for each in self.before for split in each.splits)
        yield from ((join.node, self.heads * width) for join in self.joins if op_of(join.node) == "Reshape")

    def declare(self, columns: int) -> None:
        """Let the caches be declared as they are if so many columns stay, and nothing be said of other shapes."""
        declared = {value for cache in self.caches for value in cache.declared}
        for value in self.values:
            value.shape = value.shape if value in declared else None
        for cache in self.caches:
            cache.resize(columns // self.groups)


@dataclass(frozen=True, eq=False)
class QueryKey(HeadBlock):
    """Query and key, known to the model by the scores query · keyᵀ of each head, before a softmax over the keys.

    Key head g meets the query heads from g · heads / groups on. before_softmax: nothing but scaling and additions stand between
    the scores and the softmax, so that what is added to all scores of a query does not count.
    """

    scores: ir.Value
    before_softmax: bool

    def scale_correction(self, width: int) -> float:
        """Return by what to multiply the scores of heads of ``width`` so that they are scaled as those of all columns."""
        query, key = (each.splits[0] for each in self.before)
        return score_scale(query, key, self.scores, self.width) / score_scale(query, key, self.scores, width)


@dataclass(frozen=True, eq=False)
class ValueOutput(HeadBlock):
    """Value and attention output, known to the model by the product of the columns and rows of each head.

    group_of: the value head that each head of the attention reads.
    """

    group_of: tuple[int, ...]


Block = TypeVar("Block", bound=HeadBlock)


def find_query_keys(sites: Sequence[MatMulSite]) -> tuple[QueryKey, ...]:
    """Return the pairs of query and key among ``sites`` whose heads can be made thinner, in graph order."""
    return blocks_of(sites, _query_key)


def find_value_outputs(sites: Sequence[MatMulSite]) -> tuple[ValueOutput, ...]:
    """Return the pairs of value and attention output among ``sites`` whose heads can be made thinner, in graph order."""
    return blocks_of(sites, _value_output)


def _query_key(core: AttentionCore, products: Products) -> QueryKey:
    met = core.node if core.scores is None and op_of(core.node) == ATTENTION else core.scores
    if met is None:
        raise NotABlockError
    query, key = (split_before(operand, products) for operand in core.operands[:2])
    scores = met.outputs[0]
    if query.width != key.width or query.site is key.site:
        raise NotABlockError
    values = tuple(touched((*query.values, *key.values), scores))
    for width in (query.width, max(query.width // 2, 1)):  # it works at another one too
        score_scale(query, key, scores, width)
    plain = met is core.node or all(op_of(node) in _SHIFTS for node in _until_softmax(scores))
    before = (_projected(query), _projected(key))
    return QueryKey(before, (), (), values, caches_among(values), scores, plain)


def _until_softmax(scores: ir.Value) -> Iterator[ir.Node]:
    for node in downstream(scores, lambda node: op_of(node) in SOFTMAXES or mixes(node)):
        if op_of(node) not in SOFTMAXES:
            yield node


def _value_output(core: AttentionCore, products: Products) -> ValueOutput:
    if len(core.operands) != 3:
        raise NotABlockError
    value, join = split_before(core.operands[2], products), join_after(core.node.outputs[0], products)
    values = tuple(touched(value.values, join.joined))
    others = [operand for operand in core.node.inputs if operand is not None and operand is not core.operands[2]]
    if value.site is join.site or any(operand in values for operand in others):
        raise NotABlockError
    group_of = shared_value_heads(value, join, others)
    return ValueOutput((_projected(value),), (join.site,), (join,), values, caches_among(values), group_of)


def _projected(split: PackedSplit) -> Projected:
    return Projected(split.site, (split,))


def query_key_of(core: AttentionCore, products: Products) -> QueryKey | None:
    """Return query and key of ``core``, if they are a block there."""
    return _tried(_query_key, core, products)


def value_output_of(core: AttentionCore, products: Products) -> ValueOutput | None:
    """Return value and output of ``core``, if they are a block there."""
    return _tried(_value_output, core, products)


def products_of(sites: Sequence[MatMulSite]) -> dict[ir.Node, MatMulSite]:
    """Return the site of each node that multiplies with the weight of one of ``sites``."""
    return {node: site for site in sites for node in site.nodes if not WEIGHT_OPERATORS[op_of(node)].lookup}


def _tried(find: Callable[[AttentionCore, Products], Block], core: AttentionCore, products: Products) -> Block | None:
    try:
        return find(core, products)
    except (NotABlockError, UncomputableError):
        return None


def blocks_of(sites: Sequence[MatMulSite], find: Callable[[AttentionCore, Products], Block]) -> tuple[Block, ...]:
    """Return the blocks that ``find`` finds in the attentions among ``sites``, those of the same sites as one, in graph order."""
    products = products_of(sites)
    found: dict[tuple[MatMulSite, ...], list[Block]] = {}
    for graph in dict.fromkeys(node.graph for node in products):
        assert isinstance(graph, ir.Graph), "sites lie in the main graph"
        for core in attention_cores(graph, mixes):
            block = _tried(find, core, products)
            if block is not None:
                found.setdefault(block.sites, []).append(block)
    return tuple(whole for same in found.values() if (whole := _together(same)) is not None)


def _together(same: Sequence[Block]) -> Block | None:
    """Return blocks of the ``same`` sites as one; None if these are used elsewhere too, or with other biases."""
    first = same[0]
    before = tuple(
        Projected(each.site, tuple(split for block in same for split in block.before[index].splits))
        for index, each in enumerate(first.before)
    )
    joins = tuple(join for block in same for join in block.joins)
    uses = [split.product for each in before for split in each.splits] + [join.product for join in joins]
    if len(uses) != sum(len(site.nodes) for site in first.sites):
        return None
    if any(each.heads != block.before[i].heads for block in same for i, each in enumerate(before)):
        return None
    for each in before:
        if len(each.biases) not in (0, len(each.splits)) or not _all_the_same(each.biases):
            return None
    values = tuple(value for block in same for value in block.values)
    caches = tuple(cache for block in same for cache in block.caches)
    return first.together(same, before=before, joins=joins, values=values, caches=caches)


def _all_the_same(biases: Sequence[Bias]) -> bool:
    entries = [bias.tensor.numpy() for bias in biases]
    return all(np.array_equal(entries[0], others) for others in entries)
