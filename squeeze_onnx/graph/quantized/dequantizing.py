"""Weights stored as integers, back in floats: undoes what ONNX Runtime's quantizers do to a graph, but for their rounding.

    x ─► DynamicQuantizeLinear ─► MatMulInteger(Q) ─► Cast ─► Mul(scales) ─► y      x ─► MatMul(W) ─► y
    x ─► QuantizeLinear ─► DequantizeLinear ─► MatMul(DequantizeLinear(Q)) ─► y     x ─► MatMul(W) ─► y
    x ─► MatMulNBits(Q) ─► y                                                        x ─► MatMul(W) ─► y
    ids ─► Gather(Q) ─► DequantizeLinear ─► y                                       ids ─► Gather(W) ─► y

Activations are not rounded any more either. A range that starts at 0 stays as a Relu and an upper limit, because ONNX Runtime's
quantizers remove a Relu or Clip in front of such a range; others, which calibration has seen, are dropped. What is not written as
here stays as it is, and `find_sites` says why it skips it.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import LOOKUP, SOFTMAXES, int_attribute, op_of, operand
from squeeze_onnx.graph.quantized.integer_products import INTEGER_PRODUCTS, Rule, name_before
from squeeze_onnx.graph.quantized.integer_weights import Quantization
from squeeze_onnx.graph.rewrite.insertion import Inserter

_QUANTIZE = frozenset({"QuantizeLinear", "com.microsoft.QuantizeLinear"})
_FEW_BITS = "com.microsoft.MatMulNBits"
_AXES_OF_A_WEIGHT = 2
_NEVER_NEGATIVE = SOFTMAXES | {"Abs", "Exp", "Relu", "Sigmoid", "Sqrt"}


def dequantize(model: ir.Model) -> None:
    """Turn integer weights of the main graph of ``model``, which changes in place, into floats; a float model stays as it is."""
    inserter = Inserter(model)
    for rules in (INTEGER_PRODUCTS, _DECODINGS):
        for node in tuple(model.graph):
            if op_of(node) in rules:
                rules[op_of(node)](inserter, node)
    RemoveUnusedNodesPass()(model)


def bits_of_products(model: ir.Model) -> int | None:
    """Return in how many bits the main graph of ``model`` stores the weights of most products; None if they are floats."""
    found = Counter(
        int_attribute(node, "bits", 4) if op_of(node) == _FEW_BITS else 8
        for node in model.graph
        if op_of(node) in INTEGER_PRODUCTS or _decodes_a_weight(node)
    )
    return found.most_common(1)[0][0] if found else None


def _decodes_a_weight(node: ir.Node) -> bool:
    tensor = constant_tensor(node.inputs[0]) if op_of(node) in _DECODINGS else None
    return tensor is not None and len(tensor.shape) == _AXES_OF_A_WEIGHT


def is_quantized(model: ir.Model) -> bool:
    """Say whether a node of the main graph of ``model`` computes with integer weights."""
    return any(op_of(node) in rules for node in model.graph for rules in (INTEGER_PRODUCTS, _DECODINGS))


def _dequantize_linear(inserter: Inserter, node: ir.Node) -> None:
    """DequantizeLinear of a constant, of rows of a constant table, or of what was a float right before."""
    quantization, source = _quantization(node), node.inputs[0]
    if quantization is None or source is None:
        return
    stored, before = constant_tensor(source), source.producer()
    if stored is not None:
        if quantization.fits(stored):
            weight = inserter.initializer(f"{name_before(node)}/weight", quantization.decoded(stored))
            inserter.take_over(node.outputs[0], weight)
    elif before is not None and op_of(before) == LOOKUP:
        _decode_table(inserter, before, node, quantization)
    elif before is not None and op_of(before) in _QUANTIZE and _same_steps(before, node):
        _do_not_round(inserter, before, node, quantization)


def _decode_table(inserter: Inserter, lookup: ir.Node, node: ir.Node, quantization: Quantization) -> None:
    table = constant_tensor(lookup.inputs[0])
    by_columns = quantization.one_for_all or int_attribute(node, "axis", 1) == -1
    if table is None or len(table.shape) != 2 or int_attribute(lookup, "axis") != 0 or not by_columns:
        return
    if (along_rows := replace(quantization, axis=1)).fits(table):
        weight = inserter.initializer(f"{name_before(lookup)}/table", along_rows.decoded(table))
        inserter.take_over(node.outputs[0], inserter.node(LOOKUP, [weight, lookup.inputs[1]], before=node))


def _do_not_round(inserter: Inserter, quantize: ir.Node, node: ir.Node, quantization: Quantization) -> None:
    """Let the float that ``quantize`` rounds stand for the output of ``node``, within a range that starts at 0."""
    value, output = quantize.inputs[0], node.outputs[0]
    assert value is not None
    made_by = value.producer()
    lowest, highest = quantization.range_of(_rounded_type(quantize))
    if lowest == 0 and (made_by is None or op_of(made_by) not in _NEVER_NEGATIVE):
        limit = inserter.initializer(f"{name_before(node)}/limit", ir.Tensor(np.array(highest)))
        value = inserter.node("Min", [inserter.node("Relu", [value], before=node), limit], before=node)
    if output.is_graph_output():
        inserter.take_over(output, inserter.node("Identity", [value], before=node))
    else:
        output.replace_all_uses_with(value)


def _quantization(node: ir.Node) -> Quantization | None:
    """Return how ``node``, a QuantizeLinear or DequantizeLinear, rounds; None if that is not constant."""
    scale, zero_point = (constant_tensor(operand(node, index)) for index in (1, 2))
    if scale is None or (zero_point is None and operand(node, 2) is not None):
        return None
    return Quantization(scale, zero_point, int_attribute(node, "axis", 1), int_attribute(node, "block_size"))


def _same_steps(quantize: ir.Node, dequantize: ir.Node) -> bool:
    """Whether the second gives back what the first was given, rounded, in the same type."""
    first, second = _quantization(quantize), _quantization(dequantize)
    if first is None or second is None or not (first.one_for_all and second.one_for_all):
        return False
    given, scale = quantize.inputs[0], second.scale
    same_type = given is not None and given.dtype in (None, scale.dtype) and first.scale.dtype == scale.dtype
    return same_type and _rounded_type(quantize).is_integer() and first.parameters() == second.parameters()


def _rounded_type(quantize: ir.Node) -> ir.DataType:
    zero_point = constant_tensor(operand(quantize, 2))
    if zero_point is not None:
        return zero_point.dtype
    return ir.DataType(int_attribute(quantize, "output_dtype", int(ir.DataType.UINT8)))


_DECODINGS: dict[str, Rule] = {
    "DequantizeLinear": _dequantize_linear,
    "com.microsoft.DequantizeLinear": _dequantize_linear,
}
