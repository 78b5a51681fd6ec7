"""The embedding to be stored as nodes of the graph: pooling and the modules that follow it, the map, then integers or bits."""

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.embedding_output.grids import Grid
from squeeze_onnx.data.embedding import Normalize
from squeeze_onnx.data.positions import MASK
from squeeze_onnx.data.stored_output import BITS, OutputType
from squeeze_onnx.evaluate.answer_heads import SentenceEmbedding, TokenEmbeddings
from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.pooling import applied, embedded
from squeeze_onnx.spectral.embedding_maps import EmbeddingMap

OUTPUT = "sentence_embedding"
"""The name that sentence-transformers has for it; a graph that has it already gets another."""

OLDEST_OPSET = 13
"""The first whose reductions take axes as an input."""

_KINDS = {OutputType.FLOAT: ir.DataType.FLOAT, OutputType.INT8: ir.DataType.INT8}


def add_output(model: ir.Model, head: SentenceEmbedding, mapped: EmbeddingMap, grid: Grid) -> str:
    """Append to ``model`` an output of what ``mapped`` and ``grid`` make of the embedding that ``head`` reads; return its name.

    The outputs that are there stay as they are.
    """
    name = free_name(OUTPUT, names_in(model))
    emit = Emitter(model, name)
    answer = next(value for value in model.graph.outputs if value.name == head.output)
    value = answer if answer.dtype is ir.DataType.FLOAT else emit("Cast", answer, to=ir.DataType.FLOAT)
    axes = 3 if isinstance(head, TokenEmbeddings) else 2
    mask = _mask(model, emit, value) if axes == 3 else value
    rows = embedded(emit, value, mask, head.embedding, axes)
    stored = _stored(emit, _mapped(emit, rows, mapped), grid, mapped.dimensions)
    stored.name = name
    stored.type = ir.TensorType(_KINDS.get(grid.type, ir.DataType.UINT8))
    batch = answer.shape[0] if answer.shape else None
    width = grid.type.bytes_of(mapped.dimensions) if grid.type is OutputType.BINARY else mapped.dimensions
    stored.shape = ir.Shape([batch, width])
    model.graph.outputs.append(stored)
    return name


def _mask(model: ir.Model, emit: Emitter, tokens: ir.Value) -> ir.Value:
    """Return which tokens are text, (sequences, tokens, 1) in floats; all of them where the graph is not told."""
    told = next((value for value in model.graph.inputs if value.name == MASK), None)
    if told is not None:
        return emit("Unsqueeze", emit("Cast", told, to=ir.DataType.FLOAT), emit.axes(-1))
    sizes = emit("Slice", emit("Shape", tokens), emit.axes(0), emit.axes(2))
    ones = emit("ConstantOfShape", sizes, value=ir.tensor(np.ones(1, np.float32)))
    return emit("Unsqueeze", ones, emit.axes(-1))


def _mapped(emit: Emitter, rows: ir.Value, mapped: EmbeddingMap) -> ir.Value:
    if mapped.normalized:
        rows = applied(emit, rows, Normalize())
    if mapped.rotates:
        rows = emit("MatMul", rows, emit.constant(mapped.axes))
    if mapped.bias.any():
        rows = emit("Add", rows, emit.constant(mapped.bias))
    return applied(emit, rows, Normalize()) if mapped.normalized else rows


def _stored(emit: Emitter, rows: ir.Value, grid: Grid, dimensions: int) -> ir.Value:
    """Return ``rows`` on the ``grid``; an output of its own even where nothing is left to do."""
    match grid.type:
        case OutputType.INT8 | OutputType.UINT8:
            kind = np.int8 if grid.type is OutputType.INT8 else np.uint8
            return emit("QuantizeLinear", rows, emit.constant(grid.scale), emit.constant(grid.zero_point, kind))
        case OutputType.BINARY:
            bits = emit("Cast", emit("Greater", rows, emit.constant(0)), to=ir.DataType.FLOAT)
            by_bytes = emit("Reshape", bits, emit.axes(-1, dimensions // BITS, BITS))
            worth = emit.constant([2.0**place for place in reversed(range(BITS))])
            return emit("Cast", emit("MatMul", by_bytes, worth), to=ir.DataType.UINT8)
        case _:
            return emit("Identity", rows)
