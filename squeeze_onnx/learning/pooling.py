"""Embeddings as nodes of the graph: what `squeeze_onnx.data.embedding` computes with arrays, so that losses can be made of it.

Every way of pooling is a sum over the tokens with weights that come from the mask alone, but the maximum, whose weights are 1 at
the token that has it; so what is differentiated is a product and a sum.
"""

import onnx_ir as ir

from squeeze_onnx.data.embedding import (
    Activation,
    DenseLayer,
    Embedding,
    EmbeddingModule,
    LayerNorm,
    Normalize,
    Pooling,
)
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.support.errors import ModelError

_LEAST, _SHORTEST = 1e-9, 1e-12
_FAR_BELOW = 1e9
"""Taken off tokens that do not count before the largest is looked for."""


def embedded(emit: Emitter, value: ir.Value, mask: ir.Value, embedding: Embedding, axes: int) -> ir.Value:
    """Return the embeddings (sequences, features) of ``value``: of tokens (3 ``axes``), or of what is pooled already (2).

    ``mask`` has shape (sequences, tokens, 1).
    """
    rows = pooled(emit, value, mask, embedding) if axes == 3 else value
    for module in embedding.modules:
        rows = applied(emit, rows, module)
    if embedding.dimensions is not None:
        rows = emit("Slice", rows, emit.axes(0), emit.axes(embedding.dimensions), emit.axes(1))
    return rows


def pooled(emit: Emitter, value: ir.Value, mask: ir.Value, embedding: Embedding) -> ir.Value:
    """Return (sequences, features) of tokens (sequences, tokens, features), see `squeeze_onnx.data.embedding.pool`."""
    counted = mask
    if embedding.unpooled:
        inside = emit("Greater", _places(emit, mask), emit.constant(embedding.unpooled))
        counted = emit("Mul", mask, emit("Cast", inside, to=ir.DataType.FLOAT))
    found = [_pooled(emit, name, value, counted, mask) for name in embedding.pooling]
    return found[0] if len(found) == 1 else emit("Concat", *found, axis=1)


def _pooled(emit: Emitter, name: Pooling, value: ir.Value, counted: ir.Value, mask: ir.Value) -> ir.Value:
    weights = _weights(emit, name, value, counted, mask)
    summed = emit("ReduceSum", emit("Mul", value, weights), emit.axes(1), keepdims=0)
    if name in (Pooling.CLS, Pooling.LAST, Pooling.MAX):
        return summed
    total = emit("Max", emit("ReduceSum", weights, emit.axes(1), keepdims=0), emit.constant(_LEAST))
    return emit("Div", summed, emit("Sqrt", total) if name is Pooling.MEAN_SQRT_LENGTH else total)


def _weights(emit: Emitter, name: Pooling, value: ir.Value, counted: ir.Value, mask: ir.Value) -> ir.Value:
    """Return what counts how much, (sequences, tokens, 1), or of the maximum (sequences, tokens, features)."""
    match name:
        case Pooling.CLS:
            return emit("Mul", counted, _is_one(emit, _places(emit, counted)))
        case Pooling.LAST:
            return emit("Mul", counted, _is_one(emit, _places(emit, counted, reverse=1)))
        case Pooling.MAX:
            absent = emit("Mul", emit("Sub", counted, emit.constant(1)), emit.constant(_FAR_BELOW))
            return emit("Hardmax", emit("Add", value, absent), axis=1)
        case Pooling.WEIGHTED_MEAN:
            return emit("Mul", counted, _places(emit, mask))
        case _:
            return counted


def _places(emit: Emitter, mask: ir.Value, reverse: int = 0) -> ir.Value:
    """Return 1, 2, 3 … along the tokens that are text."""
    return emit("CumSum", mask, emit.axes(1), reverse=reverse)


def _is_one(emit: Emitter, places: ir.Value) -> ir.Value:
    return emit("Cast", emit("Equal", places, emit.constant(1)), to=ir.DataType.FLOAT)


def applied(emit: Emitter, rows: ir.Value, module: EmbeddingModule) -> ir.Value:
    """Return what ``module`` makes of ``rows`` (sequences, features). Raises ModelError for one of another kind."""
    match module:
        case DenseLayer():
            return _dense(emit, rows, module)
        case LayerNorm():
            centred = emit("Sub", rows, _mean(emit, rows, module.in_features))
            variance = _mean(emit, emit("Mul", centred, centred), module.in_features)
            scaled = emit("Div", centred, emit("Sqrt", emit("Add", variance, emit.constant(module.EPSILON))))
            return emit("Add", emit("Mul", scaled, emit.constant(module.weight)), emit.constant(module.bias))
        case Normalize():
            squares = emit("ReduceSum", emit("Mul", rows, rows), emit.axes(-1))
            return emit("Div", rows, emit("Sqrt", emit("Add", squares, emit.constant(_SHORTEST**2))))
        case _:
            raise ModelError(
                f"a module {type(module).__name__} of an embedding cannot be learned through: leave learning out"
            )


def _dense(emit: Emitter, rows: ir.Value, module: DenseLayer) -> ir.Value:
    product = emit("MatMul", rows, emit.constant(module.weight))
    if module.bias is not None:
        product = emit("Add", product, emit.constant(module.bias))
    found = _activated(emit, product, module.activation)
    if not module.adds_input:
        return found
    passed = rows if module.residual is None else emit("MatMul", rows, emit.constant(module.residual))
    return emit("Add", found, passed)


def _activated(emit: Emitter, rows: ir.Value, activation: Activation) -> ir.Value:
    match activation:
        case Activation.TANH:
            return emit("Tanh", rows)
        case Activation.RELU:
            return emit("Relu", rows)
        case Activation.SIGMOID:
            return emit("Sigmoid", rows)
        case Activation.SILU:
            return emit("Mul", rows, emit("Sigmoid", rows))
        case Activation.GELU:
            spread = emit("Erf", emit("Mul", rows, emit.constant(0.5**0.5)))
            half = emit("Mul", rows, emit.constant(0.5))
            return emit("Mul", half, emit("Add", spread, emit.constant(1)))
        case _:
            return rows


def _mean(emit: Emitter, rows: ir.Value, features: int) -> ir.Value:
    return emit("Mul", emit("ReduceSum", rows, emit.axes(-1)), emit.constant(1 / features))
