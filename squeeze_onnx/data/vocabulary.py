"""How many tokens a graph can embed, and a tokenizer that makes no others."""

from pathlib import Path

import onnx_ir as ir

from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.repository import repository_of
from squeeze_onnx.data.tokenization import TextEncoder, load_text_encoder
from squeeze_onnx.data.tokenizer_files import tokenizer_place
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.constants import ConstantMatrix, resolve_constant

_TABLE_OPERANDS = {"Gather": (0, 1), "EmbedLayerNormalization": (2, 0)}
"""Operator → (number of the table's input, number of the ids' input)."""
_PASSES_IDS_ON = frozenset({"Cast", "Identity"})


def embedding_rows(model: ir.Model, input_name: str = "input_ids") -> int | None:
    """Return the rows of the table that the graph input ``input_name`` is looked up in, None if there is no such table.

    Found by structure: the ids go into a Gather on a constant (through Cast or Identity), or into onnxruntime's fused
    EmbedLayerNormalization.
    """
    waiting = [value for value in model.graph.inputs if value.name == input_name]
    while waiting:
        ids = waiting.pop()
        for node, index in ids.uses():
            if node.op_type in _PASSES_IDS_ON:
                waiting.extend(node.outputs)
            table_index, ids_index = _TABLE_OPERANDS.get(node.op_type, (None, None))
            if table_index is None or index != ids_index:
                continue
            table = resolve_constant(node.inputs[table_index])
            if table is not None:
                # A quantized table is no float matrix, but has its rows all the same.
                return int(table.shape[0] if isinstance(table, ConstantMatrix) else table.tensor.shape.numpy()[0])
    return None


def encoder_of(
    model: OnnxModel, settings: ModelConfig, tokenizer: Path | None, *, max_tokens: int | None
) -> TextEncoder:
    """Load ``tokenizer``, or else the one beside ``model``, of which the files say ``settings``.

    It makes no more tokens than the graph takes. Raises TokenizerError if it is missing, broken or of a larger vocabulary.
    """
    source = tokenizer or tokenizer_place(repository_of(model.path))
    settings = settings.for_shape(FixedShape.of_graph(model.ir))
    encoder = load_text_encoder(source, settings, max_tokens=max_tokens)
    vocabulary = embedding_rows(model.ir) or settings.vocabulary_size
    if vocabulary is not None:
        encoder.check_vocabulary(vocabulary, model.path)
    return encoder
