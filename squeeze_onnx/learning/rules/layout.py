"""Operators that move entries; the gradient moves them back."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint


def identity(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x; of Dropout too, which does nothing when a model is used."""
    return {0: adjoint.gradient}


def cast(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x in another type."""
    return {0: adjoint.emit("CastLike", adjoint.gradient, adjoint.operand(0))}


def reshape(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """The same entries in another shape: Reshape, Flatten, Squeeze, Unsqueeze."""
    adjoint.only(0)
    return {0: adjoint.emit.reshape_like(adjoint.gradient, adjoint.operand(0))}


def transpose(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Permuted axes go back."""
    axes = adjoint.emit.ndim(adjoint.output)
    given = adjoint.node.attributes.get("perm")
    order = list(given.as_ints()) if given is not None else list(reversed(range(axes)))
    return {0: adjoint.emit("Transpose", adjoint.gradient, perm=np.argsort(order).tolist())}


def concatenate(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """Each part gets its slice back."""
    emit, axis = adjoint.emit, int_attribute(adjoint.node, "axis")
    sizes = [
        emit("Gather", emit.shape_of(adjoint.given(part)), emit.axes(axis % emit.ndim(adjoint.output)))
        for part in adjoint.node.inputs
    ]
    ends = emit("CumSum", emit("Concat", *sizes, axis=0), emit.constant(0, np.int64))
    found = {}
    for index in adjoint.wanted:
        end = emit("Gather", ends, emit.axes(index))
        found[index] = emit("Slice", adjoint.gradient, emit("Sub", end, sizes[index]), end, emit.axes(axis))
    return found


def split(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """The parts are put together again; one that the loss does not depend on is zero."""
    adjoint.only(0)
    emit = adjoint.emit
    parts = [
        adjoint.emit.zeros_like(output) if gradient is None else gradient
        for gradient, output in zip(adjoint.gradients, adjoint.node.outputs, strict=True)
    ]
    return {0: emit("Concat", *parts, axis=int_attribute(adjoint.node, "axis"))}
