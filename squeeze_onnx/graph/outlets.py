"""What happens to the product of a weight: the bias that is added to it, and the residual stream that it joins.

x ─► MatMul(W) ─► Add(bias) ─► Add(residual) ─► …
x ─► Gemm(W, bias) ─► Dropout ─► Add(residual) ─► …
"""

from collections.abc import Container
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.constants import constant_vector, is_constant
from squeeze_onnx.graph.dataflow import data_inputs
from squeeze_onnx.graph.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.sites import MatMulSite

_PASSES_ON = frozenset({"Dropout", "Identity"})


@dataclass(frozen=True)
class Bias:
    """A constant vector (out,) that ``node`` adds to the product of a weight, as its operand ``operand``."""

    node: ir.Node
    operand: int
    tensor: ir.TensorProtocol


@dataclass(frozen=True)
class Outlet:
    """Where a product goes.

    bias: what is added to it first, if that is constant.
    residual: the stream that the result joins, if it does nothing else.
    scaled: whether the operator multiplies product or bias with a factor, so that neither is what the next node sees.
    """

    bias: Bias | None
    residual: ir.Value | None
    scaled: bool


def find_outlet(site: MatMulSite, joins: Container[ir.Node]) -> Outlet:
    """Return the outlet of ``site``, which only one node uses; ``joins`` are the additions to the residual stream."""
    (node,) = site.nodes
    operator = WEIGHT_OPERATORS[op_of(node)]
    scaled = any(name in node.attributes and node.attributes[name].as_float() != 1.0 for name in operator.scales)
    bias = None if operator.bias is None else _bias(node, operator.bias, site.out_features)
    value = node.outputs[0]
    if bias is None and (added := _added_bias(value, site.out_features)) is not None:
        bias = added
        value = added.node.outputs[0]
    return Outlet(bias, _joined_stream(value, joins), scaled)


def _added_bias(product: ir.Value, size: int) -> Bias | None:
    node = _only_reader(product)
    if node is None or op_of(node) != "Add":
        return None
    return next((bias for index in (0, 1) if (bias := _bias(node, index, size)) is not None), None)


def _bias(node: ir.Node, operand: int, size: int) -> Bias | None:
    tensor = constant_vector(node.inputs[operand]) if operand < len(node.inputs) else None
    return None if tensor is None or tensor.size != size else Bias(node, operand, tensor)


def _joined_stream(value: ir.Value, joins: Container[ir.Node]) -> ir.Value | None:
    node = _only_reader(value)
    while node is not None and op_of(node) in _PASSES_ON:
        value = node.outputs[0]
        node = _only_reader(value)
    if node is None or node not in joins:
        return None
    streams = [
        other
        for other in data_inputs(node)
        if other is not value and not is_constant(other) and constant_vector(other) is None
    ]
    return streams[0] if len(streams) == 1 else None


def _only_reader(value: ir.Value) -> ir.Node | None:
    readers = {node for node, _ in value.uses()}
    return readers.pop() if len(readers) == 1 and not value.is_graph_output() else None
