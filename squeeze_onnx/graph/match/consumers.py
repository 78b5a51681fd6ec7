"""What happens to the product of a weight: the bias that is added to it, and the residual stream that it joins.

x ─► MatMul(W) ─► Add(bias) ─► Add(residual) ─► …
x ─► Gemm(W, bias) ─► Dropout ─► Add(residual) ─► …
"""

from collections.abc import Container
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_vector, is_constant
from squeeze_onnx.graph.match.dataflow import data_inputs
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite

_PASSES_ON = frozenset({"Dropout", "Identity"})


@dataclass(frozen=True)
class Bias:
    """A constant vector (out,) that ``node`` adds to the product of a weight, as its operand ``operand``."""

    node: ir.Node
    operand: int
    tensor: ir.TensorProtocol


def find_bias(site: MatMulSite) -> Bias | None:
    """Return the bias of ``site``, which only one node uses; None too if its operator scales the product or the bias."""
    (node,) = site.nodes
    return find_bias_at(node, site.out_features)


def find_biases(site: MatMulSite) -> list[Bias]:
    """Return the biases of ``site`` as `find_bias` does, those of all nodes that use it."""
    return [bias for node in site.nodes if (bias := find_bias_at(node, site.out_features)) is not None]


def find_bias_at(node: ir.Node, features: int) -> Bias | None:
    """Return the bias (features,) of the product that ``node`` computes; None too if it scales the product or the bias."""
    if _scales(node):
        return None
    operand = WEIGHT_OPERATORS[op_of(node)].bias
    inside = None if operand is None else _bias(node, operand, features)
    return inside or _added_bias(node.outputs[0], features)


def find_residual(site: MatMulSite, joins: Container[ir.Node]) -> ir.Value | None:
    """Return the stream that the product of ``site``, which only one node uses, joins with its bias and nothing else.

    ``joins`` are the additions to a residual stream. None if the operator scales the product.
    """
    found = find_join(site, joins)
    if found is None:
        return None
    node, operand = found
    streams = [
        other
        for other in data_inputs(node)
        if other is not node.inputs[operand] and not is_constant(other) and constant_vector(other) is None
    ]
    return streams[0] if len(streams) == 1 else None


def find_join(site: MatMulSite, joins: Container[ir.Node]) -> tuple[ir.Node, int] | None:
    """Return the addition to a residual stream that takes the product of ``site`` with its bias, and as which operand.

    Only one node uses the site, and nothing else reads the product. ``joins`` are the additions to a residual stream. None if
    there is none, and if the operator scales the product.
    """
    (node,) = site.nodes
    if _scales(node):
        return None
    bias = find_bias(site)
    value = node.outputs[0] if bias is None else bias.node.outputs[0]
    reader = _only_reader(value)
    while reader is not None and op_of(reader) in _PASSES_ON:
        value = reader.outputs[0]
        reader = _only_reader(value)
    if reader is None or reader not in joins:
        return None
    operands = [index for index, each in enumerate(reader.inputs) if each is value]
    return (reader, operands[0]) if len(operands) == 1 else None


def _scales(node: ir.Node) -> bool:
    scales = (node.attributes.get(name) for name in WEIGHT_OPERATORS[op_of(node)].scales)
    return any(scale is not None and scale.as_float() != 1.0 for scale in scales)


def _added_bias(product: ir.Value, size: int) -> Bias | None:
    node = _only_reader(product)
    if node is None or op_of(node) != "Add":
        return None
    return next((bias for index in (0, 1) if (bias := _bias(node, index, size)) is not None), None)


def _bias(node: ir.Node, operand: int, size: int) -> Bias | None:
    tensor = constant_vector(node.inputs[operand]) if operand < len(node.inputs) else None
    return None if tensor is None or tensor.size != size else Bias(node, operand, tensor)


def _only_reader(value: ir.Value) -> ir.Node | None:
    readers = {node for node, _ in value.uses()}
    return readers.pop() if len(readers) == 1 and not value.is_graph_output() else None
