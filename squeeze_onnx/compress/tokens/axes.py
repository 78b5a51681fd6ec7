"""What each axis of each value of a graph runs over: the graph runs twice, with other numbers of texts and tokens."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.rewrite.kept_operands import AxisKind
from squeeze_onnx.learning.shapes import trace_shapes
from squeeze_onnx.support.errors import ModelError

_SIZES = ((2, 5), (3, 7))
"""Texts and tokens of the two runs: sums and products of these, and the sizes of heads, are others than they are themselves."""


def axes_of(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, tuple[AxisKind, ...]]:
    """Return the kinds of the axes by value; ``feeds`` are inputs (texts, tokens) to take some of.

    Raises ModelError if the graph does not run with another number of tokens, or reads something else than texts.
    """
    for value in model.graph.inputs:
        fixed = value.shape is not None and any(isinstance(size, int) for size in value.shape)
        if fixed or feeds[str(value.name)].ndim != 2:
            raise ModelError(
                f"the input {value.name!r} is not (texts, tokens) with any number of both: export the model with "
                "dynamic axes, and without a cache"
            )
    first, second = (
        trace_shapes(model, {name: np.resize(array, size) for name, array in feeds.items()}) for size in _SIZES
    )
    kinds: dict[tuple[int, int], AxisKind] = dict(zip(zip(*_SIZES, strict=True), ("batch", "tokens"), strict=True))
    return {
        name: tuple(
            "fixed" if one == other else kinds.get((one, other), "other")
            for one, other in zip(shape, second[name], strict=True)
        )
        for name, shape in first.items()
        if len(shape) == len(second.get(name, ()))
    }
