"""How the heads of an attention are put side by side again, however that is spelled: entries get numbers, see `head_sources`.

context (batch, heads, tokens, width) ─► Transpose, Reshape, … ─► (batch, tokens, heads · width) ─► MatMul(output)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.attention import AttentionCore
from squeeze_onnx.graph.match.attention_parts import NotABlockError, Products, fixed_sizes
from squeeze_onnx.graph.match.behaviour import UncomputableError
from squeeze_onnx.graph.match.column_trace import moved
from squeeze_onnx.graph.match.dataflow import downstream
from squeeze_onnx.graph.match.head_sources import HeadSource, Size, is_entry_move, sizes_of
from squeeze_onnx.graph.match.operators import data_operands, op_of, rows_of


@dataclass(frozen=True, eq=False)
class HeadJoin:
    """The ``context`` of an attention, and what its ``heads`` are side by side, ``joined``.

    merged: batch and heads are one axis of the context. flat: batch and tokens are one axis of what is joined. shapes: of all
    that lies between the two, by the sizes of ``rows`` (batch, tokens, features), which the queries are computed from.
    """

    context: ir.Value
    joined: ir.Value
    heads: int
    merged: bool
    flat: bool
    rows: ir.Value
    shapes: Mapping[ir.Value, tuple[Size, ...]]


def head_join(core: AttentionCore, sources: Mapping[str, HeadSource], products: Products) -> HeadJoin | None:
    """Return how the heads of ``core`` are joined; None if they are not plainly put side by side."""
    context = core.node.outputs[0]
    product = next((node for node in downstream(context, products.__contains__) if node in products), None)
    if product is None or not {"query", "value"} <= sources.keys():
        return None
    joined, width, rows = rows_of(product), sources["value"].columns.shape[1], sources["query"].rows
    heads, rest = divmod(products[product].in_features, width)
    if rest:
        return None
    node, sizes = joined.producer(), sources["query"].sizes
    batch, tokens = sizes if node is None or op_of(node) != "Reshape" else fixed_sizes(node, sizes)
    numbers = np.arange(batch * heads * tokens * width)
    expected = numbers.reshape(batch, heads, tokens, width).swapaxes(1, 2).ravel()
    merged = sources["value"].merged
    shape = (batch * heads, tokens, width) if merged else (batch, heads, tokens, width)
    try:
        found = _numbers_joined(context, joined, numbers.reshape(shape), (batch, tokens, heads * width))
    except (NotABlockError, UncomputableError):
        return None
    last = found[joined]
    if last.shape[-1] != heads * width or not np.array_equal(last.ravel(), expected):
        return None
    token = {value: each // (heads * tokens * width) * tokens + each // width % tokens for value, each in found.items()}
    shapes = {value: sizes_of(each, (batch, tokens)) for value, each in token.items() if value is not context}
    return HeadJoin(context, joined, heads, merged, last.ndim == 2, rows, shapes)


def _numbers_joined(
    context: ir.Value, joined: ir.Value, numbers: np.ndarray, beyond: tuple[int, ...]
) -> dict[ir.Value, np.ndarray]:
    """Return the ``numbers`` of ``context`` as they stand in everything up to ``joined``.

    ``beyond`` is the shape of what lies elsewhere. NotABlockError if more is done than to move entries.
    """
    known = {context: numbers}
    value = context
    while value is not joined:
        readers = [node for node, index in value.uses() if index in data_operands(node)]
        if len(readers) != 1 or not is_entry_move(readers[0]) or len(readers[0].outputs) != 1:
            raise NotABlockError
        [node] = readers
        [found] = moved(node, known, {}, beyond)
        value = node.outputs[0]
        known[value] = found
    return known
