"""Operators that pick entries of a value, and such that put entries in; the gradient goes back to where they were."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


def slices(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Slice: a piece without gaps is padded with zeros again."""
    adjoint.only(0)
    emit, (x, starts, _, axes, steps) = adjoint.emit, (*adjoint.node.inputs, None, None)[:5]
    constant = constant_tensor(steps)
    if steps is not None and (constant is None or not np.all(constant.numpy() == 1)):
        return by_positions(adjoint)
    x, starts, zero = adjoint.given(x), adjoint.given(starts), emit.constant(0, np.int64)
    length, left = (emit.shape_of(value) for value in (x, adjoint.output))
    if axes is None:
        axes = emit.axes(*range(emit.ndim(x)))
    # Negative starts count from the end; those before the beginning or behind the end are the beginning and the end.
    length, left = (emit("Gather", sizes, axes) for sizes in (length, left))
    starts = emit("CastLike", starts, length)
    before = emit("Where", emit("Less", starts, zero), emit("Add", starts, length), starts)
    before = emit("Max", emit("Min", before, length), zero)
    after = emit("Sub", emit("Sub", length, left), before)
    return {0: emit.pad(adjoint.gradient, before, after, axes)}


def gather(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Gather: whole slices are added up where they were picked from."""
    adjoint.only(0)
    emit, x, indices = adjoint.emit, adjoint.operand(0), adjoint.operand(1)
    axis, several = int_attribute(adjoint.node, "axis") % emit.ndim(x), emit.ndim(indices)
    places = emit("Unsqueeze", indices, emit.axes(-1))
    if axis == 0:
        return {0: emit("ScatterND", emit.zeros_like(x), places, adjoint.gradient, reduction="add")}
    # The axes that the indices run over go to the front, and the axis that was picked along comes back.
    picked = range(axis, axis + several)
    others = [other for other in range(emit.ndim(adjoint.output)) if other not in picked]
    front = emit("Transpose", adjoint.gradient, perm=[*picked, *others])
    order = [axis, *(other for other in range(emit.ndim(x)) if other != axis)]
    sizes = emit("Gather", emit.shape_of(x), emit.axes(*order))
    added = emit("ScatterND", emit.zeros(sizes), places, front, reduction="add")
    return {0: emit("Transpose", added, perm=np.argsort(order).tolist())}


def gather_elements(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """GatherElements: entries are added up where they were picked from."""
    adjoint.only(0)
    emit, axis = adjoint.emit, int_attribute(adjoint.node, "axis")
    zeros = emit.zeros_like(adjoint.operand(0))
    added = emit("ScatterElements", zeros, adjoint.operand(1), adjoint.gradient, axis=axis, reduction="add")
    return {0: added}


def gather_nd(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """GatherND: slices are added up where they were picked from."""
    adjoint.only(0)
    if int_attribute(adjoint.node, "batch_dims"):
        return by_positions(adjoint)
    emit = adjoint.emit
    zeros = emit.zeros_like(adjoint.operand(0))
    return {0: emit("ScatterND", zeros, adjoint.operand(1), adjoint.gradient, reduction="add")}


def by_positions(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Entries go back to where they were picked from, and add up where they were picked several times.

    Any operator that picks is told by what it takes of 0, 1, 2 …, the positions in the flattened operand.
    """
    adjoint.only(0)
    emit, node, x = adjoint.emit, adjoint.node, adjoint.operand(0)
    positions = emit("Range", emit.constant(0, np.int64), emit("Size", x), emit.constant(1, np.int64))
    picked = emit(node.op_type, emit.reshape_like(positions, x), *node.inputs[1:], **node.attributes)
    everything = emit.axes(-1)
    zeros = emit("Reshape", emit.zeros_like(x), everything)
    entries, places = emit("Reshape", adjoint.gradient, everything), emit("Reshape", picked, everything)
    return {0: emit.reshape_like(emit("ScatterElements", zeros, places, entries, reduction="add"), x)}


def scatter_nd(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """ScatterND: slices of x are replaced by updates, or these are added to them."""
    adjoint.only(0, 2)
    emit, indices, dy = adjoint.emit, adjoint.operand(1), adjoint.gradient
    found = {}
    if 0 in adjoint.wanted:
        found[0] = dy if _adds(adjoint) else emit("ScatterND", dy, indices, emit.zeros_like(adjoint.operand(2)))
    if 2 in adjoint.wanted:
        found[2] = emit("GatherND", dy, indices)
    return found


def scatter_elements(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """ScatterElements: entries of x are replaced by updates, or these are added to them."""
    adjoint.only(0, 2)
    emit, indices, dy = adjoint.emit, adjoint.operand(1), adjoint.gradient
    axis = int_attribute(adjoint.node, "axis")
    found = {}
    if 0 in adjoint.wanted:
        zeros = emit.zeros_like(adjoint.operand(2))
        found[0] = dy if _adds(adjoint) else emit("ScatterElements", dy, indices, zeros, axis=axis)
    if 2 in adjoint.wanted:
        found[2] = emit("GatherElements", dy, indices, axis=axis)
    return found


def _adds(adjoint: Adjoint) -> bool:
    """Whether updates are added; raises ModelError for a reduction that does neither that nor replaces."""
    attribute = adjoint.node.attributes.get("reduction")
    reduction = "none" if attribute is None else attribute.as_string()
    if reduction not in ("none", "add"):
        raise ModelError(
            f"{adjoint.called} reduces by {reduction}, which has no rule of differentiation: use none or add"
        )
    return reduction == "add"
