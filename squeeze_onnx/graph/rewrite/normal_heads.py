"""Attention in one normal form, in which `squeeze_onnx.graph.match.attention_heads` finds what can be made thinner.

    before                                                 after

    x ─► MatMul(q | k | v) ─► Reshape ─► Split, Slice,     x ─► MatMul(q) ─► Add ─► Reshape(0, 0, heads, -1) ─► Transpose ─► …
         Gather, Transpose, … ─► heads                     x ─► MatMul(k) ─► …      and so on for k and v
    context ─► Transpose ─► Reshape(2, 7, 32) ─► output    context ─► Transpose ─► Reshape(0, 0, -1) ─► output

A packed weight is taken apart into the weights of query, key and value, which can then be cut each on its own; heads that are
shared are repeated by a Gather. No shape is read off what has the width of the heads any more. The model computes what it did.
Where that cannot be shown, and where heads are in normal form as they are, nothing changes.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.attention import AttentionCore, attention_cores
from squeeze_onnx.graph.match.attention_heads import products_of, query_key_of, value_output_of
from squeeze_onnx.graph.match.attention_parts import NotABlockError, Products
from squeeze_onnx.graph.match.behaviour import UncomputableError
from squeeze_onnx.graph.match.caches import cache_at, is_shown
from squeeze_onnx.graph.match.dataflow import upstream
from squeeze_onnx.graph.match.head_joins import HeadJoin, head_join
from squeeze_onnx.graph.match.head_sources import HeadSource, head_source, is_entry_move
from squeeze_onnx.graph.match.operators import ATTENTION, SCALINGS, mixes, op_of
from squeeze_onnx.graph.match.repeated_caches import repeated_cache
from squeeze_onnx.graph.match.rotation_layouts import repeated_heads, shapes_read
from squeeze_onnx.graph.match.rotations import BY_HEAD, rotation_of
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.head_writer import HeadWriter

_PARTS = ("query", "key", "value")


@dataclass(frozen=True, eq=False)
class _Change:
    """What of one attention is to be written anew: the sources of heads by their part, and where the heads are joined."""

    sources: dict[str, HeadSource]
    joined: HeadJoin | None

    @property
    def values(self) -> set[ir.Value]:
        """What is replaced."""
        return {source.value for source in self.sources.values()} | ({self.joined.joined} if self.joined else set())


def normalize_heads(model: ir.Model) -> None:
    """Bring every attention of ``model``, whose graph changes in place, into the normal form as far as it can be."""
    writer = HeadWriter(model)
    for core in attention_cores(model.graph, mixes):
        for operand in core.operands[1:]:
            _repeat_behind_cache(operand, writer)
    products = products_of(find_sites(model).sites)
    changes = [
        change for core in attention_cores(model.graph, mixes) if (change := _change(core, products)) is not None
    ]
    by_packed: dict[ir.Node, list[HeadSource]] = {}
    for change in changes:
        for source in change.sources.values():
            by_packed.setdefault(source.product, []).append(source)
    replaced = {value for change in changes for value in change.values}
    kept = {product for product, sources in by_packed.items() if not _is_replaceable(sources, replaced)}
    done: set[ir.Value] = set()
    for change in changes:
        for part, source in change.sources.items():
            if source.product not in kept and source.value not in done:
                writer.write_source(source, part)
                done.add(source.value)
        if change.joined is not None:
            writer.write_join(change.joined)
    products = products_of(find_sites(model).sites)
    for core in attention_cores(model.graph, mixes):
        _tidy_rotated(core, products, writer)
    writer.clean()


def _repeat_behind_cache(operand: ir.Value, writer: HeadWriter) -> None:
    """Let heads out of a cache be repeated by a Gather, which asks for no width."""
    found = repeated_cache(operand)
    if found is not None:
        cache, repeated = found
        writer.write_repeated(cache.present, BY_HEAD, repeated)


def _tidy_rotated(core: AttentionCore, products: Products, writer: HeadWriter) -> None:
    """Let nothing read a shape off query and key of ``core`` while they are rotated, and repeat heads by a Gather after that."""
    if core.scores is None or query_key_of(core, products) is not None:
        return
    try:
        sources = [head_source(operand, products) for operand in core.operands[:2]]
    except (NotABlockError, UncomputableError):
        return
    shared = len(sources[0].group_of) != len(sources[1].group_of)
    for operand, source in zip(core.operands[:2], sources, strict=True):
        with suppress(NotABlockError, UncomputableError):
            shapes = shapes_read(source, operand)
            rotation = rotation_of(operand, source) if shapes or shared else None
            if rotation is None:
                continue
            writer.write_shapes(shapes, rotation, core.scores.outputs[0])
            repeated = repeated_heads(rotation, operand, source)
            if repeated is not None:
                writer.write_repeated(rotation.rotated, rotation.axes, repeated)


def _change(core: AttentionCore, products: Products) -> _Change | None:
    """Return what is to be written anew of ``core``; None if it is as it should be, or if nothing is known of it."""
    if len(core.operands) != len(_PARTS) or (core.scores is None and op_of(core.node) != ATTENTION):
        return None
    sources: dict[str, HeadSource] = {}
    for part, operand in zip(_PARTS, core.operands, strict=True):
        try:
            sources[part] = head_source(operand, products)
        except (NotABlockError, UncomputableError):
            continue
    packed = {source.product for source in sources.values() if not source.is_whole}
    joined = None
    if value_output_of(core, products) is None:
        joined = head_join(core, sources, products)
    elif not packed:
        sources.pop("value", None)
    if query_key_of(core, products) is not None or not all(
        part in sources and _is_plain(sources[part], operand)
        for part, operand in zip(_PARTS[:2], core.operands[:2], strict=True)
    ):
        sources = {part: source for part, source in sources.items() if part == "value" or source.product in packed}
    return _Change(sources, joined) if sources or joined else None


def _is_plain(source: HeadSource, operand: ir.Value) -> bool:
    """Whether nothing but moves and scalings lies between the heads of ``source`` and the ``operand`` that they become."""
    pending, seen = [operand], set()
    while pending:
        value = pending.pop()
        if value is source.value or value in seen:
            continue
        seen.add(value)
        node = value.producer()
        cache = cache_at(node)
        if cache is not None:
            pending.append(cache.new)
            continue
        if node is None or not (is_entry_move(node) or op_of(node) in SCALINGS | {"Cast"}):
            return False
        inputs = [each for each in node.inputs if each is not None and _comes_from(each, source.value)]
        if len(inputs) != 1:
            return False
        pending.extend(inputs)
    return True


def _comes_from(value: ir.Value, source: ir.Value) -> bool:
    return value is source or any(source in node.inputs for node in upstream(value, mixes))


def _is_replaceable(sources: Iterable[HeadSource], replaced: set[ir.Value]) -> bool:
    """Whether nothing of the model needs the product of ``sources`` any more once all ``replaced`` values are others.

    A product that is one source in its own order stays as it is.
    """
    first, *others = sources
    if first.is_whole and not others:
        return True
    told = {value for source in (first, *others) for value in source.shapes}
    return not any(is_shown(value) for value in _needed(first.biased, replaced, told))


def _needed(start: ir.Value, replaced: set[ir.Value], told: set[ir.Value]) -> Iterator[ir.Value]:
    """Yield what is computed from ``start``, but for what is ``replaced``, and for shapes that are ``told`` in another way."""
    pending, seen = [start], {start}
    while pending:
        value = pending.pop()
        if value in replaced:
            continue
        yield value
        for node, _ in value.uses():
            if value not in told or op_of(node) != "Shape":
                pending.extend(each for each in node.outputs if each not in seen)
                seen.update(node.outputs)
