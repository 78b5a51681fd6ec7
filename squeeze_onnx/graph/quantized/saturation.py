"""Where products of integers go wrong on some processors: pairs of products that are added up in 16 bits.

x86 processors without VNNI multiply unsigned rows with signed weights by VPMADDUBSW, which adds up two neighbouring products in
a signed 16-bit number and clips what does not fit. With rows of up to 255 a pair of weights q, r of one sign fits as long as
|q| + |r| ≤ 128, since 255 · 128 = 32640 < 2¹⁵; weights of opposite signs always fit. Unsigned weights and other processors
are exact (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Signed rows are too, but not in QDQ
form: on x86 ONNX Runtime makes them unsigned there.
"""

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import op_of, operand

PAIR_LIMIT = 128
"""The largest |q| + |r| of two weights of one sign that meet neighbouring entries of a row of unsigned integers."""

# Of these, the operand that is the weight, and that which is the row.
_INTEGER_PRODUCTS = {
    "MatMulInteger": (1, 0),
    "QLinearMatMul": (3, 0),
    "com.microsoft.MatMulIntegerToFloat": (1, 0),
    "com.microsoft.DynamicQuantizeMatMul": (1, None),
    "com.microsoft.QAttention": (1, 0),
    "com.microsoft.QGemm": (3, 0),
}
_DECODING = "DequantizeLinear"
_FLOAT_PRODUCTS = frozenset({"MatMul", "Gemm"})


def largest_pairs(weight: np.ndarray) -> np.ndarray:
    """Return for each column of ``weight`` (in, out) the largest |q| + |r| of neighbours 2i, 2i + 1 of one sign, (out,)."""
    even = weight[: len(weight) // 2 * 2].reshape(-1, 2, weight.shape[1])
    if not len(even):
        return np.zeros(weight.shape[1])
    positive, negative = (np.maximum(sign * even, 0).sum(axis=1).max(axis=0) for sign in (1, -1))
    largest: np.ndarray = np.maximum(positive, negative)
    return largest


def saturating_products(model: ir.Model) -> tuple[str, ...]:
    """Return the names of the nodes of ``model`` whose products of integers depend on the processor, in graph order."""
    return tuple(str(node.name) for node in model.graph if _saturates(node))


def _saturates(node: ir.Node) -> bool:
    op = op_of(node)
    if op in _INTEGER_PRODUCTS:
        weight_index, rows_index = _INTEGER_PRODUCTS[op]
        weight = constant_tensor(operand(node, weight_index))
        signed_rows = rows_index is not None and _is_signed(operand(node, rows_index))
        return weight is not None and not signed_rows and _overflows(weight)
    if op not in _FLOAT_PRODUCTS:
        return False
    # In QDQ form: ONNX Runtime makes one product of integers of it.
    decoders = [value.producer() for value in node.inputs[:2] if value is not None]
    if len(decoders) < 2 or any(each is None or op_of(each) != _DECODING for each in decoders):
        return False
    _, decoder = decoders
    weight = None if decoder is None else constant_tensor(operand(decoder, 0))
    return weight is not None and _overflows(weight)


def _is_signed(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.INT8


def _overflows(weight: ir.TensorProtocol) -> bool:
    if weight.dtype != ir.DataType.INT8 or len(weight.shape) != 2:
        return False
    return bool((largest_pairs(weight.numpy().astype(np.int16)) > PAIR_LIMIT).any())
