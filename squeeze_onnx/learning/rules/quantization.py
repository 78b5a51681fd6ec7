"""Rounding to integers and back, differentiated as if nothing was rounded.

That is the straight-through estimator (Bengio, Léonard & Courville 2013, arXiv 1308.3432).
"""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


def quantize(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """q = round(x/s) + z: q′ = 1/s."""
    adjoint.only(0)
    return {0: adjoint.emit("Div", adjoint.gradient, _scale(adjoint))}


def dequantize(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """x = s(q − z): x′ = s."""
    adjoint.only(0)
    return {0: adjoint.emit("Mul", adjoint.gradient, _scale(adjoint))}


def _scale(adjoint: Adjoint) -> ir.Value:
    """Return the scale, along its axis if there is one an index of it."""
    emit, scale = adjoint.emit, adjoint.operand(1)
    if int_attribute(adjoint.node, "block_size"):
        raise ModelError(f"{adjoint.called} has a scale for each block, which has no rule of differentiation")
    if emit.ndim(scale) == 0 or emit.shape(scale) == (1,):
        return scale
    axes = emit.ndim(adjoint.output)
    axis = int_attribute(adjoint.node, "axis", 1) % axes
    return emit("Unsqueeze", scale, emit.axes(*range(1, axes - axis)))
