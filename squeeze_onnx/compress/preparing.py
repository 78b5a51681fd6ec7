"""What a model file is taken as before anything else looks at it."""

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.graph.fused.fusion import count_fused, fuse
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.quantized.dequantizing import bits_of_products, dequantize, is_quantized
from squeeze_onnx.graph.rewrite.copies import store_once
from squeeze_onnx.graph.rewrite.half_types import multiplies_in
from squeeze_onnx.graph.rewrite.normal_heads import normalize_heads
from squeeze_onnx.graph.rewrite.rewriter import INITIALIZERS_OF_THEIR_OWN
from squeeze_onnx.support.errors import OptionError

FOUR_BITS = 4
OLDEST_ROUNDED = 13
"""The first opset whose weights can be rounded by column."""


def stored_alike(model: ir.Model, config: OptimizeConfig, plan: Plan | None = None) -> OptimizeConfig:
    """Return ``config``, with the precision that ``model``, as it lies in its file, has its weights in, unless one is asked for.

    What comes as integers leaves as integers: floats in their place would take more bytes than were to be saved. A ``plan`` says
    itself what weights are stored in.
    """
    bits = None if config.precision is not None or plan is not None else bits_of_products(model)
    if bits is None or model.opset_imports.get("", 0) < OLDEST_ROUNDED:
        return config
    return replace(config, precision="int4" if bits == FOUR_BITS else "int8")


def open_model(path: str | Path, config: AnalyzeConfig) -> OnnxModel:
    """Load the model at ``path`` as ``config`` takes it. Raises ModelError."""
    model = load_model(find_repository(path).model_path)
    prepare(model.ir, config)
    return model


def prepare(model: ir.Model, config: AnalyzeConfig) -> None:
    """Turn default values of inputs into constants, and integer weights into floats, in ``model``, as far as ``config`` asks.

    Equal weights that were written several times become one, and attention is brought into one form, without asking: nothing
    else makes one decision of them, see `squeeze_onnx.graph.rewrite.normal_heads`.

    Raises OptionError for a setting that asks for what has no effect on this model.
    """
    if config.freeze_inputs:
        _refuse_unless(_has_weights_as_inputs(model), "freeze_inputs", "no weight is a graph input")
        RemoveInitializersFromInputsPass()(model)
        model.ir_version = max(model.ir_version, INITIALIZERS_OF_THEIR_OWN)
    if config.dequantize:
        _refuse_unless(is_quantized(model) or _holds_integers(model), "dequantize", "no weight is stored as integers")
        dequantize(model)
    store_once(model)
    normalize_heads(model)


def _refuse_unless(effective: bool, setting: str, reason: str) -> None:
    if not effective:
        raise OptionError(f"`{setting}` has nothing to do in this model, where {reason}: leave it out")


def _has_weights_as_inputs(model: ir.Model) -> bool:
    return any(value.name in model.graph.initializers for value in model.graph.inputs)


def _holds_integers(model: ir.Model) -> bool:
    """Whether a site is skipped for integers, in a form that `dequantize` may not know: the reasons say so later."""
    return any("`dequantize`" in skipped.reason for skipped in find_sites(model).skipped)


def refuse_idle_fusing(model: OnnxModel, config: OptimizeConfig) -> None:
    """Raise OptionError if ``fuse`` finds nothing in ``model``, before anything takes its time; a squeezed one has no more."""
    if config.fuse is None:
        return
    fused = model.ir.clone()
    fuse(fused, config.fuse)
    if not any(count_fused(fused).values()):
        raise OptionError(
            f"`fuse` {config.fuse} has nothing to do in {model.path}: no attention, normalization or Gelu of it is one that "
            "ONNX Runtime has an operator for; leave it out"
        )


def refuse_unrunnable(model: OnnxModel, config: OptimizeConfig) -> None:
    """Raise OptionError for a ``model`` of bfloat16 that data is to be run through on the CPU, which has no kernels for it."""
    if config.provider == "cpu" and multiplies_in(model.ir, ir.DataType.BFLOAT16):
        raise OptionError(
            f"{model.path} computes in bfloat16, which ONNX Runtime cannot run on the CPU: leave out the calibration data "
            "(`method` svd needs none), or export the model in float32"
        )
