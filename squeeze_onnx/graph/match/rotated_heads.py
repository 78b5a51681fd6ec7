"""Query and key that are rotated by their positions, thinned in whole pairs of dimensions that turn together.

    x ─► query ─► heads ─► q · cos + rotate(q) · sin ─┐
                                                       MatMul ─► scores          RotatedQueryKey
    y ─► key ───► heads ─► k · cos + rotate(k) · sin ─┘

See `squeeze_onnx.graph.match.rotations` for what a rotation is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.attention import AttentionCore
from squeeze_onnx.graph.match.attention_heads import HeadBlock, Projected, blocks_of
from squeeze_onnx.graph.match.attention_parts import (
    NotABlockError,
    PackedSplit,
    Products,
    caches_among,
    split_before,
    touched,
)
from squeeze_onnx.graph.match.head_behaviour import products_scale
from squeeze_onnx.graph.match.head_sources import head_source
from squeeze_onnx.graph.match.rotations import Rotation, rotation_of
from squeeze_onnx.graph.match.sites import MatMulSite


@dataclass(frozen=True, eq=False)
class RotatedQueryKey(HeadBlock):
    """Query and key of one attention, or of several with the same weights, and how each is rotated there."""

    rotations: tuple[tuple[Rotation, Rotation], ...]
    scores: ir.Value

    def together(self, same: Sequence[Self], **places: Any) -> Self:
        """Return the block of all places that the blocks of the ``same`` sites have."""
        return replace(self, rotations=tuple(each for block in same for each in block.rotations), **places)

    def scale_correction(self, width: int) -> float:
        """Return by what to multiply the scores of heads of ``width`` so that they are scaled as those of all columns."""
        query, key = (each.splits[0] for each in self.before)
        whole, thin = (_scale(query, key, self.rotations[0], self.scores, each) for each in (self.width, width))
        return whole / thin

    @property
    def parts(self) -> int:
        """Two columns of a pair go together."""
        return 2 * self.groups

    @property
    def pairs(self) -> np.ndarray:
        """The dimensions of a head that turn together, (pairs, 2)."""
        return self.rotations[0][0].pairs


def find_rotated_query_keys(sites: Sequence[MatMulSite]) -> tuple[RotatedQueryKey, ...]:
    """Return the pairs of rotated query and key among ``sites`` whose heads can be made thinner, in graph order."""
    return blocks_of(sites, _rotated_query_key)


def _rotated_query_key(core: AttentionCore, products: Products) -> RotatedQueryKey:
    if core.scores is None:
        raise NotABlockError
    scores = core.scores.outputs[0]
    query, key = (split_before(operand, products) for operand in core.operands[:2])
    if query.width != key.width or query.width % 2 or query.site is key.site or query.heads % key.heads:
        raise NotABlockError
    values = tuple(touched((*query.values, *key.values), scores))
    rotations = tuple(rotation_of(operand, head_source(operand, products)) for operand in core.operands[:2])
    if not np.array_equal(rotations[0].pairs, rotations[1].pairs) or len(rotations[0].pairs) < 2:
        raise NotABlockError
    if any(rotation.is_read_inside for rotation in rotations):
        raise NotABlockError
    for width in (query.width, query.width // 2):  # it works at another one too
        _scale(query, key, rotations, scores, width)
    before = (Projected(query.site, (query,)), Projected(key.site, (key,)))
    return RotatedQueryKey(before, (), (), values, caches_among(values), ((rotations[0], rotations[1]),), scores)


def _scale(query: PackedSplit, key: PackedSplit, rotations: Sequence[Rotation], scores: ir.Value, width: int) -> float:
    """Return the scale at which ``scores`` are the products of rotated heads of ``width``."""
    turned = [
        (each.heads, rotation.rotated, rotation.axes) for each, rotation in zip((query, key), rotations, strict=True)
    ]
    return products_scale((turned[0], turned[1]), scores, width, query)
