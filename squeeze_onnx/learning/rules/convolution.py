"""Convolutions of any number of groups and spatial axes."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


@dataclass(frozen=True)
class Window:
    """How a window moves over the spatial axes; ``before`` and ``after`` are what surrounds them there."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, adjoint: Adjoint) -> "Window":
        """Read the attributes of a Conv or a pooling; raises ModelError for padding that depends on the input's size."""
        attributes, axes = adjoint.node.attributes, adjoint.emit.ndim(adjoint.operand(0)) - 2
        automatic = attributes["auto_pad"].as_string() if "auto_pad" in attributes else "NOTSET"
        if automatic not in ("NOTSET", "VALID") or int_attribute(adjoint.node, "ceil_mode"):
            raise ModelError(
                f"{adjoint.called} pads by the size of its input (auto_pad or ceil_mode), which has no rule of differentiation"
            )

        def given(name: str, default: int, count: int) -> tuple[int, ...]:
            return tuple(attributes[name].as_ints()) if name in attributes else (default,) * count

        pads = given("pads", 0, 2 * axes) if automatic == "NOTSET" else (0,) * 2 * axes
        return cls(given("strides", 1, axes), given("dilations", 1, axes), pads[:axes], pads[axes:])

    @property
    def steps(self) -> dict[str, list[int]]:
        """The attributes that say how it moves."""
        return {"strides": list(self.strides), "dilations": list(self.dilations)}


def convolution(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = x ∗ w + b: dx is the transposed convolution of dy with w, dw the convolution of x with dy, db = Σ dy."""
    emit, window = adjoint.emit, Window.of(adjoint)
    groups, weight = int_attribute(adjoint.node, "group", 1), adjoint.operand(1)
    found = {}
    if 0 in adjoint.wanted:
        spread = emit("ConvTranspose", adjoint.gradient, weight, group=groups, **window.steps)
        found[0] = without_surroundings(adjoint, spread, adjoint.operand(0), window)
    if 1 in adjoint.wanted:
        found[1] = _by_weight(adjoint, window, groups)
    if 2 in adjoint.wanted:
        spatial = range(2, emit.ndim(adjoint.output))
        found[2] = emit("ReduceSum", adjoint.gradient, emit.axes(0, *spatial), keepdims=0)
    return found


def without_surroundings(adjoint: Adjoint, spread: ir.Value, x: ir.Value, window: Window) -> ir.Value:
    """Return of ``spread``, the gradient of x and its padding, the part that is ``x``; what no window reached is 0."""
    emit, axes = adjoint.emit, emit_spatial_axes(adjoint)
    before = emit.axes(*(-size for size in window.before))
    sizes, has = (emit("Gather", shape, axes) for shape in (emit.shape_of(x), emit("Shape", spread)))
    return emit.pad(spread, before, emit("Sub", emit("Sub", sizes, has), before), axes)


def emit_spatial_axes(adjoint: Adjoint) -> ir.Value:
    """Return the numbers of the axes after batch and channels."""
    return adjoint.emit.axes(*range(2, adjoint.emit.ndim(adjoint.operand(0))))


def _by_weight(adjoint: Adjoint, window: Window, groups: int) -> ir.Value:
    """Convolve x with dy, sequences in the place of channels, strides and dilations exchanged.

    x (N, G·C, …) ─► (C, G·N, …), dy (N, M, …) ─► (M, N, …), both convolved: (C, M, …), of which w has the first entries.
    """
    emit, x, weight = adjoint.emit, adjoint.operand(0), adjoint.operand(1)
    spatial = list(range(2, emit.ndim(x)))
    batch, sizes = (
        emit("Slice", emit.shape_of(x), emit.axes(start), emit.axes(end)) for start, end in ((0, 1), (2, 99))
    )
    grouped = emit("Reshape", x, emit("Concat", batch, emit.axes(groups, -1), sizes, axis=0))
    turned = emit("Transpose", grouped, perm=[2, 1, 0, *(axis + 1 for axis in spatial)])
    channels = emit.shape(weight)[1]
    rows = emit("Reshape", turned, emit("Concat", emit.axes(channels, -1), sizes, axis=0))
    kernel = emit("Transpose", adjoint.gradient, perm=[1, 0, *spatial])
    products = emit(
        "Conv",
        rows,
        kernel,
        group=groups,
        strides=list(window.dilations),
        dilations=list(window.strides),
        pads=[*window.before, *window.after],
    )
    kernel_size = emit.axes(*emit.shape(weight)[2:])
    of_weight = emit("Slice", products, emit.axes(*[0] * len(spatial)), kernel_size, emit.axes(*spatial))
    return emit("Transpose", of_weight, perm=[1, 0, *spatial])
