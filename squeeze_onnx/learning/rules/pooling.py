"""Means and maxima over windows, and over everything."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.learning.rules.convolution import Window, emit_spatial_axes, without_surroundings


def average_pool(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y is a convolution of each channel with equal weights, whose gradient is the transposed one."""
    emit, x, window = adjoint.emit, adjoint.operand(0), Window.of(adjoint)
    size = tuple(adjoint.node.attributes["kernel_shape"].as_ints())
    ones = emit.constant(np.ones((1, 1, *size)))
    share = emit("Div", adjoint.gradient, _counts(adjoint, window, ones))
    # Every channel of every image is an image of one channel.
    channels = emit("Reshape", share, _as_channels(adjoint, adjoint.output))
    spread = emit("ConvTranspose", channels, ones, **window.steps)
    leading = emit("Slice", emit.shape_of(x), emit.axes(0), emit.axes(2))
    images = emit("Concat", leading, emit("Gather", emit("Shape", spread), emit_spatial_axes(adjoint)), axis=0)
    return {0: without_surroundings(adjoint, emit("Reshape", spread, images), x, window)}


def _counts(adjoint: Adjoint, window: Window, ones: ir.Value) -> ir.Value:
    """Return how many entries each mean is of; surroundings count if the operator says so."""
    emit, spatial = adjoint.emit, emit_spatial_axes(adjoint)
    if int_attribute(adjoint.node, "count_include_pad") or not any((*window.before, *window.after)):
        return emit.constant(int(np.prod(ones.shape.numpy() if ones.shape is not None else ())))
    sizes = emit("Gather", emit.shape_of(adjoint.operand(0)), spatial)
    image = emit("Expand", emit.constant(1), emit("Concat", emit.axes(1, 1), sizes, axis=0))
    return emit("Conv", image, ones, pads=[*window.before, *window.after], **window.steps)


def _as_channels(adjoint: Adjoint, value: ir.Value) -> ir.Value:
    emit = adjoint.emit
    sizes = emit("Gather", emit.shape_of(value), emit_spatial_axes(adjoint))
    return emit("Concat", emit.axes(-1, 1), sizes, axis=0)


def global_average_pool(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y is the mean over all spatial axes, which stay with size 1."""
    emit, x = adjoint.emit, adjoint.operand(0)
    count = emit("Div", emit("Size", x), emit("Size", adjoint.output))
    share = emit("Div", adjoint.gradient, emit("CastLike", count, adjoint.gradient))
    return {0: emit("Expand", share, emit.shape_of(x))}


def max_pool(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """The gradient goes to the largest entry of each window, which the operator can name."""
    emit, node, x = adjoint.emit, adjoint.node, adjoint.operand(0)
    node.resize_outputs(2)
    node.outputs[1].name = node.outputs[1].name or f"{adjoint.output.name}/places"
    everything = emit.axes(-1)
    flat = [emit("Reshape", value, everything) for value in (emit.zeros_like(x), node.outputs[1], adjoint.gradient)]
    return {0: emit.reshape_like(emit("ScatterElements", *flat, reduction="add"), x)}
