"""What an attention does to its heads, found by computing it on small arrays: at which scale scores are query · keyᵀ, and that
a change of basis of the values shows in what is joined, each at any width.

Only what lies between the heads and the scores, or between the values and what is joined, is computed: masks, positions and the
softmax are not looked at, whatever they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import onnx_ir as ir
from scipy.special import softmax

from squeeze_onnx.graph.match.attention_parts import NATURAL, Join, PackedSplit
from squeeze_onnx.graph.match.behaviour import UncomputableError, compute
from squeeze_onnx.graph.match.operators import ATTENTION, int_attribute, op_of

Meeting = tuple[int, ir.Value, tuple[int, ...]]
"""How many heads, a value that is these heads, and its axes, of batch, tokens, heads and width."""


def score_scale(query: PackedSplit, key: PackedSplit, scores: ir.Value, width: int) -> float:
    """Return the scale at which ``scores`` are the products of ``query`` and ``key`` with heads of ``width``.

    Where one operator is the whole attention, ``scores`` are what it returns. Raises UncomputableError if they are nothing of the
    kind.
    """
    node = scores.producer()
    if node is not None and op_of(node) == ATTENTION:
        return _scale_inside(query, key, node, width)
    sides = ((query.heads, query.split, NATURAL), (key.heads, key.split, NATURAL))
    return products_scale(sides, scores, width, query)


def _scale_inside(query: PackedSplit, key: PackedSplit, node: ir.Node, width: int) -> float:
    """Return the scale that the Attention ``node`` gives the products of ``query`` and ``key`` with heads of ``width``."""
    random = np.random.default_rng(0)
    batch, tokens = query.sizes()
    dtype = query.site.weight.dtype.numpy()
    queries, keys = (random.standard_normal((batch, tokens, each.heads, width)).astype(dtype) for each in (query, key))
    values = random.standard_normal((batch, key.heads, tokens, key.width)).astype(dtype)
    *_, value, mask = (*node.inputs[:4], None)[:4]
    given = {query.split: queries, key.split: keys, value: values}
    if mask is not None:
        boolean = mask.dtype == ir.DataType.BOOL
        given[mask] = np.ones((1, 1, tokens, tokens), bool) if boolean else np.zeros((1, 1, tokens, tokens), dtype)
    softcap = node.attributes.get("softcap")
    if (
        value is None
        or any(node.inputs[4:])
        or (softcap is not None and softcap.as_float() != 0)
        or query.heads % key.heads
    ):
        raise UncomputableError(f"{node.name} does more than to multiply query and key")
    found: np.ndarray
    [found] = compute(
        node.outputs[:1], {each: array for each, array in given.items() if each}, shape_beyond=queries.shape[:3]
    )
    stored = node.attributes.get("scale")
    scale = width**-0.5 if stored is None else stored.as_float()
    shared = query.heads // key.heads
    logits = scale * np.einsum(
        "bthd,bshd->bhts", queries.astype(np.float64), np.repeat(keys.astype(np.float64), shared, axis=2)
    )
    if int_attribute(node, "is_causal"):
        logits = np.where(np.tri(tokens, dtype=bool), logits, -np.inf)
    expected = softmax(logits, axis=-1) @ np.repeat(values.astype(np.float64), shared, axis=1)
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=tolerance(dtype, width)):
        raise UncomputableError(f"{node.name} is not the attention of query and key")
    return scale


def products_scale(sides: tuple[Meeting, Meeting], scores: ir.Value, width: int, query: PackedSplit) -> float:
    """Return the scale at which ``scores`` are the products of both ``sides`` with heads of ``width``; see `score_scale`."""
    random = np.random.default_rng(0)
    batch, tokens = query.sizes()
    dtype = query.site.weight.dtype.numpy()
    queries, keys = (random.standard_normal((batch, tokens, heads, width)).astype(dtype) for heads, _, _ in sides)
    given = {
        value: np.ascontiguousarray(entries.transpose(axes))
        for (_, value, axes), entries in zip(sides, (queries, keys), strict=True)
    }
    heads, groups = sides[0][0], sides[1][0]
    [found] = compute([scores], given, shape_beyond=(batch, tokens, heads * width))
    if heads % groups:
        raise UncomputableError("the heads of the keys do not divide those of the queries")
    repeated = np.repeat(keys.astype(np.float64), heads // groups, axis=2)
    products = np.einsum("bthd,bshd->bhts", queries.astype(np.float64), repeated)
    if found.shape not in (products.shape, (batch * heads, tokens, tokens)):
        raise UncomputableError(f"{scores.name} has no row for each token")
    entries = found.reshape(products.shape).astype(np.float64)
    scale = float(np.sum(entries * products) / np.sum(products**2))
    usual = width**-0.5
    scale = usual if np.isclose(scale, usual, rtol=tolerance(dtype, 1)) else scale
    if scale == 0 or not np.allclose(entries, scale * products, rtol=0, atol=tolerance(dtype, width) * abs(scale)):
        raise UncomputableError(f"{scores.name} are not the products of query and key")
    return scale


def shared_value_heads(value: PackedSplit, join: Join, others: Sequence[ir.Value]) -> tuple[int, ...]:
    """Return the head of ``value`` that each head joined by ``join`` reads, given ``others`` that the core takes.

    Raises UncomputableError if a change of basis of the heads is not all that shows in what is joined.
    """
    heads = join.site.in_features // value.width
    if heads % value.heads or join.site.in_features % value.width:
        raise UncomputableError("the heads of the values do not divide those of the attention")
    random = np.random.default_rng(0)
    batch, tokens = value.sizes()
    dtype = value.site.weight.dtype.numpy()
    width = max(value.width - 1, 1)  # another one
    whole = random.standard_normal((batch, tokens, value.heads, value.width)).astype(dtype)
    change = random.standard_normal((value.heads, value.width, width)).astype(dtype).astype(np.float64)
    thin = np.einsum("btgd,gdr->btgr", whole.astype(np.float64), change).astype(dtype)
    for given in _possible_operands(others, (batch, heads, tokens), dtype):
        shape = (batch, tokens, heads * value.width)
        try:
            [found] = compute([join.unjoined], {**given, value.split: whole}, shape_beyond=shape)
            [changed] = compute([join.unjoined], {**given, value.split: thin}, shape_beyond=shape)
        except UncomputableError:
            continue
        if found.shape[-2:] != (heads, value.width) or changed.shape[-2:] != (heads, width):
            continue
        for group_of in _sharings(heads, value.heads):
            shown = np.einsum("...hd,hdr->...hr", found.astype(np.float64), change[list(group_of)])
            if np.allclose(shown, changed.astype(np.float64), rtol=0, atol=tolerance(dtype, value.width)):
                return group_of
    raise UncomputableError(f"{join.joined.name} is not the heads of the values, weighted and joined")


def _possible_operands(
    others: Sequence[ir.Value], sizes: tuple[int, int, int], dtype: np.dtype
) -> Iterator[Mapping[ir.Value, np.ndarray]]:
    """Yield the shapes that the probabilities may have: with the heads as an axis, or one with the batch."""
    batch, heads, tokens = sizes
    random = np.random.default_rng(1)
    shapes = [(batch, heads, tokens, tokens), (batch * heads, tokens, tokens)]
    for chosen in product(shapes, repeat=len(others)):
        yield {
            value: np.abs(random.standard_normal(shape)).astype(dtype)
            for value, shape in zip(others, chosen, strict=True)
        }


def _sharings(heads: int, groups: int) -> Iterator[tuple[int, ...]]:
    """Yield the ways in which heads may share those of the values: neighbours do, or each after all others."""
    yield tuple(head // (heads // groups) for head in range(heads))
    if 1 < groups < heads:
        yield tuple(head % groups for head in range(heads))


def tolerance(dtype: np.dtype, width: int) -> float:
    """Return how far sums of so many products of ordinary numbers may be off; UncomputableError for a coarse type."""
    if not np.issubdtype(dtype, np.floating):
        raise UncomputableError(f"{dtype} is too coarse to tell one way of computing from another")
    return 32 * float(np.finfo(dtype).eps) * float(np.sqrt(width))
