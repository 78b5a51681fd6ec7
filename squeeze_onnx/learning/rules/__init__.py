"""How operators are differentiated: one file a family, one line an operator."""

from squeeze_onnx.learning.rules import arithmetic, elementwise, layout, normalization, products, reductions
from squeeze_onnx.learning.rules.base import Adjoint, Rule

RULES: dict[str, Rule] = {
    "Add": arithmetic.add,
    "Cast": layout.cast,
    "Concat": layout.concatenate,
    "Div": arithmetic.div,
    "Dropout": layout.identity,
    "Erf": elementwise.error_function,
    "Exp": elementwise.exponential,
    "Expand": layout.expand,
    "Flatten": layout.reshape,
    "Gather": layout.pick,
    "GatherElements": layout.pick,
    "Gelu": elementwise.gelu,
    "Gemm": products.gemm,
    "Identity": layout.identity,
    "LayerNormalization": normalization.layer_normalization,
    "Log": elementwise.logarithm,
    "LogSoftmax": reductions.log_softmax,
    "MatMul": products.matmul,
    "Mul": arithmetic.mul,
    "Neg": elementwise.negate,
    "Pow": arithmetic.power,
    "Reciprocal": elementwise.reciprocal,
    "ReduceMean": reductions.reduce_mean,
    "ReduceSum": reductions.reduce_sum,
    "ReduceSumSquare": reductions.reduce_sum_square,
    "Relu": elementwise.relu,
    "Reshape": layout.reshape,
    "Sigmoid": elementwise.sigmoid,
    "Slice": layout.pick,
    "Softmax": reductions.softmax,
    "Split": layout.split,
    "Sqrt": elementwise.square_root,
    "Squeeze": layout.reshape,
    "Sub": arithmetic.sub,
    "Sum": arithmetic.add,
    "Tanh": elementwise.tanh,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.reshape,
    "Where": arithmetic.where,
    "com.microsoft.Gelu": elementwise.gelu,
}
"""Operator, as `graph.operators.op_of` writes it → its rule."""

__all__ = ["RULES", "Adjoint", "Rule"]
