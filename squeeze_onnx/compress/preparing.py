"""What a model file is taken as before anything else looks at it: the steps that only happen when they are asked for."""

from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.quantized.dequantizing import dequantize
from squeeze_onnx.graph.rewrite.rewriter import INITIALIZERS_OF_THEIR_OWN


def open_model(path: str | Path, config: AnalyzeConfig) -> OnnxModel:
    """Load the model at ``path`` as ``config`` takes it. Raises ModelError."""
    model = load_model(find_repository(path).model_path)
    prepare(model.ir, config)
    return model


def prepare(model: ir.Model, config: AnalyzeConfig) -> None:
    """Turn default values of inputs into constants, and integer weights into floats, in ``model``, as far as ``config`` asks."""
    if config.freeze_inputs:
        RemoveInitializersFromInputsPass()(model)
        model.ir_version = max(model.ir_version, INITIALIZERS_OF_THEIR_OWN)
    if config.dequantize:
        dequantize(model)
