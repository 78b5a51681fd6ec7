"""Inputs that are made up from what a graph declares of them: to see that a model runs, where there is no data."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.vocabulary import embedding_rows
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import int_attribute, op_of, operand

SEQUENCES = 8
SIZES = (16, 32, 64, 224)
"""Tried one after the other for every dimension that varies, but for the first one of an input."""

_UNKNOWN_VOCABULARY = 100

_PASSING = frozenset({"Cast", "Identity", "Pad"})
"""Operators behind which the channels and features of an input are what they were."""


def made_up_batches(model: ir.Model, *, seed: int = 0) -> Iterator[CalibrationBatch]:
    """Yield inputs of ``model``, the likeliest to run first; none if an input is of a kind that cannot be made up.

    A dimension has one size wherever its name stands, a sum of names their sum, and that of a weight which reads it (the
    channels of a picture or a spectrogram are those of the first convolution). Ids are drawn from the vocabulary, masks are
    ones, positions count, other integers are zeros and other numbers standard normal.
    """
    inputs = [value for value in model.graph.inputs if str(value.name) not in model.graph.initializers]
    known = all(value.shape is not None and value.dtype is not None for value in inputs)
    if not known or any(not _can_be_made_up(value) for value in inputs):
        return
    vocabulary = embedding_rows(model) or _UNKNOWN_VOCABULARY
    for rows in (SEQUENCES, 1):
        for size in SIZES:
            rng = np.random.default_rng(seed)
            feeds = {str(value.name): _array(value, _shape(value, rows, size), vocabulary, rng) for value in inputs}
            yield CalibrationBatch(feeds, _mask(feeds))


def _can_be_made_up(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED)


def _shape(value: ir.Value, rows: int, size: int) -> tuple[int, ...]:
    assert value.shape is not None, "checked by made_up_batches"
    read = _read_by_weights(value, len(value.shape))
    first = value.shape[0] if len(value.shape) else None
    batch = None if first is None or isinstance(first, int) else str(first.value)

    def extent(place: int, dim: int | ir.SymbolicDim) -> int:
        if isinstance(dim, int):
            return dim
        if place in read:
            return read[place]
        name = str(dim.value)
        if place == 0 or name == batch:
            return rows
        return size * len(re.split(r"\s*\+\s*", name))

    return tuple(extent(place, dim) for place, dim in enumerate(value.shape))


def _read_by_weights(value: ir.Value, rank: int) -> dict[int, int]:
    """Return the size of each axis of an input of this ``rank`` that a constant weight reads, behind Cast and the like too."""
    sizes: dict[int, int] = {}
    for node, index in value.uses():
        op, weight = op_of(node), constant_tensor(operand(node, 1))
        if index > 0:
            continue
        if op in _PASSING:
            sizes |= _read_by_weights(node.outputs[0], rank)
        elif op == "Conv" and weight is not None:
            sizes[1] = int(weight.shape.numpy()[1]) * int_attribute(node, "group", 1)
        elif op == "MatMul" and weight is not None and len(weight.shape) == 2:
            sizes[rank - 1] = int(weight.shape.numpy()[0])
    return sizes


def _array(value: ir.Value, shape: tuple[int, ...], vocabulary: int, rng: np.random.Generator) -> np.ndarray:
    assert value.dtype is not None, "checked by made_up_batches"
    name, kind = str(value.name).lower(), value.dtype.numpy()
    if "mask" in name:
        return np.ones(shape, kind)
    if np.issubdtype(kind, np.integer) and "position" in name:
        return np.broadcast_to(np.arange(shape[-1] if shape else 1, dtype=kind), shape).copy()
    if np.issubdtype(kind, np.integer) and name.endswith("ids") and "type" not in name:
        return rng.integers(vocabulary, size=shape).astype(kind)
    if np.issubdtype(kind, np.integer) or kind == np.bool_:
        return np.zeros(shape, kind)
    return rng.standard_normal(shape).astype(kind)


def _mask(feeds: Mapping[str, np.ndarray]) -> np.ndarray | None:
    mask = feeds.get("attention_mask")
    return mask if mask is not None and mask.ndim == 2 else None
