"""Operators that multiply with, or look up in, a constant of integers: each becomes a plain one with the decoded weight.

One rule an operator, which leaves alone what it does not know.
"""

from collections.abc import Callable

import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import DerivedTensor
from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import LOOKUP, MULTI_HEAD_ATTENTION, int_attribute, op_of, operand
from squeeze_onnx.graph.quantized.integer_weights import PACKED, BlockWeight, Quantization, split_columns
from squeeze_onnx.graph.rewrite.insertion import Inserter

Rule = Callable[[Inserter, ir.Node], None]

_SUFFIX = "_quant"
"""What ONNX Runtime's quantizers add to the names of nodes."""
_OF_BOTH_ATTENTIONS = frozenset({"mask_filter_value", "num_heads", "scale", "unidirectional"})


def name_before(node: ir.Node) -> str:
    """Return the name that ``node`` had before it was quantized."""
    return (node.name or op_of(node)).removesuffix(_SUFFIX)


def _matmul_integer(inserter: Inserter, node: ir.Node) -> None:
    """MatMulInteger, its Cast, and the Mul with the product of both scales, as quantize_dynamic writes them."""
    rows, row_scale = _unrounded(node.inputs[0])
    cast = _only_reader(node.outputs[0], "Cast")
    scaled = None if cast is None else _only_reader(cast.outputs[0], "Mul")
    if rows is None or cast is None or scaled is None:
        return
    scales = _other_operand(scaled, cast.outputs[0])
    both = None if scales is None else scales.producer()
    if both is None or op_of(both) != "Mul" or row_scale not in both.inputs:
        return
    weight = _weight(node, 1, _other_operand(both, row_scale), operand(node, 3))
    if weight is not None:
        _multiply(inserter, node, rows, weight, scaled.outputs[0])


def _dynamic_quantize_matmul(inserter: Inserter, node: ir.Node) -> None:
    """com.microsoft.DynamicQuantizeMatMul(rows, weight, scale, zero point, bias)."""
    weight = _weight(node, 1, operand(node, 2), operand(node, 3))
    if weight is not None:
        _multiply(inserter, node, node.inputs[0], weight, node.outputs[0], bias=operand(node, 4))


def _matmul_integer_to_float(inserter: Inserter, node: ir.Node) -> None:
    """com.microsoft.MatMulIntegerToFloat(rows, weight, scales of both, zero points of both, bias)."""
    weight = _weight(node, 1, operand(node, 3), operand(node, 5))
    if weight is None:
        return
    rows, _ = _unrounded(node.inputs[0])
    if rows is None:
        rows = inserter.node("DequantizeLinear", [node.inputs[0], node.inputs[2], operand(node, 4)], before=node)
    _multiply(inserter, node, rows, weight, node.outputs[0], bias=operand(node, 6))


def _matmul_nbits(inserter: Inserter, node: ir.Node) -> None:
    """com.microsoft.MatMulNBits(rows, packed weight, scales, zero points, group index, bias).

    Weights in the layout of a kernel (``weight_prepacked``), or with columns in groups of another order, stay.
    """
    found = _blocks(node, 1, 2, 3, rows=int_attribute(node, "N"), columns=int_attribute(node, "K"))
    if found is not None and operand(node, 4) is None and int_attribute(node, "weight_prepacked") == 0:
        weight = found.decoded(transposed=True)
        _multiply(inserter, node, node.inputs[0], weight, node.outputs[0], bias=operand(node, 5))


def _qattention(inserter: Inserter, node: ir.Node) -> None:
    """com.microsoft.QAttention(rows, weight, bias, scales of both, mask, zero points of both, past): products and an attention.

    The weight goes into three products, where it can be rounded again. With past keys and values nothing is changed.
    """
    rows, _ = _unrounded(node.inputs[0])
    weight = _weight(node, 1, operand(node, 4), operand(node, 7))
    mask = operand(node, 5)
    plain_mask = mask is None or mask.shape is None or len(mask.shape) <= 2
    present = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    past = operand(node, 8) is not None or present or int_attribute(node, "do_rotary") == 1
    if rows is None or weight is None or past or not plain_mask:
        return
    products: list[ir.Value | None] = []
    for role, part in zip(("query", "key", "value"), split_columns(weight, 3), strict=True):
        name = f"{name_before(node)}/{role}"
        product = inserter.node("MatMul", [rows, inserter.initializer(f"{name}/weight", part)], before=node)
        product.type = node.outputs[0].type
        products.append(product)
    attention = inserter.node(MULTI_HEAD_ATTENTION, [*products, node.inputs[2], mask], before=node)
    fused = attention.producer()
    assert fused is not None
    fused.attributes.update({name: each for name, each in node.attributes.items() if name in _OF_BOTH_ATTENTIONS})
    inserter.take_over(node.outputs[0], attention)


def _gather_block_quantized(inserter: Inserter, node: ir.Node) -> None:
    """com.microsoft.GatherBlockQuantized(packed table, indices, scales, zero points), of whole rows."""
    packed = constant_tensor(operand(node, 0))
    axes = (int_attribute(node, "gather_axis"), int_attribute(node, "quantize_axis", 1) % 2)
    if packed is None or packed.dtype != PACKED or len(packed.shape) != 2 or axes != (0, 1):
        return
    rows, stored = packed.shape.numpy()
    columns = stored * 8 // int_attribute(node, "bits", 4)
    found = _blocks(node, 0, 2, 3, rows=rows, columns=columns)
    if found is not None:
        table = inserter.initializer(f"{name_before(node)}/table", found.decoded())
        inserter.take_over(node.outputs[0], inserter.node(LOOKUP, [table, node.inputs[1]], before=node))


def _multiply(
    inserter: Inserter,
    node: ir.Node,
    rows: ir.Value | None,
    weight: ir.TensorProtocol,
    output: ir.Value,
    *,
    bias: ir.Value | None = None,
) -> None:
    """Let rows @ weight, and bias, stand for ``output``."""
    before = output.producer()
    assert before is not None
    product = inserter.node(
        "MatMul", [rows, inserter.initializer(f"{name_before(node)}/weight", weight)], before=before
    )
    product.type, product.shape = output.type, output.shape
    _keep_name(product, node)
    total = product if bias is None else inserter.node("Add", [product, bias], before=before)
    inserter.take_over(output, total)


def _weight(node: ir.Node, index: int, scale: ir.Value | None, zero_point: ir.Value | None) -> DerivedTensor | None:
    """Return the decoded constant (in, out) that ``node`` multiplies with, None if it is not constant or no such matrix."""
    stored, steps, zero = (constant_tensor(value) for value in (node.inputs[index], scale, zero_point))
    if stored is None or steps is None or (zero is None and zero_point is not None) or len(stored.shape) != 2:
        return None
    quantization = Quantization(steps, zero)
    return quantization.decoded(stored) if quantization.fits(stored) else None


def _blocks(node: ir.Node, *operands: int, rows: int, columns: int) -> BlockWeight | None:
    """Return the blocks in ``operands`` (packed, scales, zero points) of ``node``, None if they are not constant."""
    packed, scales, zeros = (constant_tensor(operand(node, index)) for index in operands)
    if packed is None or scales is None or (zeros is None and operand(node, operands[2]) is not None):
        return None
    bits, size = int_attribute(node, "bits", 4), int_attribute(node, "block_size", 128)
    return BlockWeight(packed, scales, zeros, rows, columns, bits, size)


def _unrounded(value: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None]:
    """Return the rows that DynamicQuantizeLinear made the integers ``value`` of, and their scale; None twice if it did not."""
    node = None if value is None else value.producer()
    if node is None or op_of(node) != "DynamicQuantizeLinear" or value is not node.outputs[0]:
        return None, None
    return node.inputs[0], node.outputs[1]


def _only_reader(value: ir.Value, op: str) -> ir.Node | None:
    """Return the only node that reads ``value``, if it is an ``op``."""
    readers = [node for node, _ in value.uses()]
    alone = len(readers) == 1 and not value.is_graph_output()
    return readers[0] if alone and op_of(readers[0]) == op else None


def _other_operand(node: ir.Node, value: ir.Value | None) -> ir.Value | None:
    return next((operand for operand in node.inputs if operand is not value), None)


def _keep_name(product: ir.Value, node: ir.Node) -> None:
    """Give the node of ``product`` the name that ``node`` had before it was quantized."""
    multiply = product.producer()
    assert multiply is not None
    multiply.name, node.name = name_before(node), multiply.name


INTEGER_PRODUCTS: dict[str, Rule] = {
    "MatMulInteger": _matmul_integer,
    "com.microsoft.DynamicQuantizeMatMul": _dynamic_quantize_matmul,
    "com.microsoft.GatherBlockQuantized": _gather_block_quantized,
    "com.microsoft.MatMulIntegerToFloat": _matmul_integer_to_float,
    "com.microsoft.MatMulNBits": _matmul_nbits,
    "com.microsoft.QAttention": _qattention,
}
