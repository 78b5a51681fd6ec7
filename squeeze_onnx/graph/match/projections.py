"""Biased products: what a fused operator takes apart into activations, weight and bias."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import ConstantMatrix, constant_vector, resolve_constant
from squeeze_onnx.graph.match.operators import op_of


@dataclass(frozen=True, eq=False)
class Biased:
    """A value as ``term`` + ``bias``, the latter constant of shape (features,) or None, and added nowhere else."""

    term: ir.Value
    bias: ir.Value | None

    def bias_entries(self, features: int, dtype: np.dtype) -> np.ndarray:
        """Return the bias, zeros if there is none."""
        tensor = constant_vector(self.bias)
        return np.zeros(features, dtype) if tensor is None else tensor.numpy()


def split_bias(value: ir.Value) -> Biased:
    """Take the bias off ``value``."""
    node = value.producer()
    if node is not None and op_of(node) == "Add":
        for term, bias in (node.inputs, reversed(node.inputs)):
            if term is not None and constant_vector(bias) is not None:
                return Biased(term, bias)
    return Biased(value, None)


@dataclass(frozen=True, eq=False)
class Projection:
    """A ``value`` that is ``rows`` @ ``weight`` + bias."""

    value: ir.Value
    rows: ir.Value
    weight: ConstantMatrix
    biased: Biased

    @property
    def product(self) -> ir.Value:
        """The value before the bias is added."""
        return self.biased.term

    @property
    def features(self) -> int:
        """Columns of the weight."""
        return self.weight.shape[1]

    @property
    def bias(self) -> np.ndarray:
        """The bias, shape (features,)."""
        return self.biased.bias_entries(self.features, self.weight.dtype.numpy())


def projection_of(value: ir.Value) -> Projection | None:
    """Return the MatMul with a constant weight that ``value`` is the output of, up to a bias; None if it is not."""
    biased = split_bias(value)
    node = biased.term.producer()
    if node is None or op_of(node) != "MatMul" or node.inputs[0] is None:
        return None
    weight = resolve_constant(node.inputs[1])
    return Projection(value, node.inputs[0], weight, biased) if isinstance(weight, ConstantMatrix) else None
