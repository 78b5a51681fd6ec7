"""Layer normalization as one operator."""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


def layer_normalization(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = γ n + β with n = (x − mean)/σ along the last axis (Ba, Kiros & Hinton 2016, arXiv 1607.06450).

    With d = γ dy: dx = (d − mean(d) − n · mean(d·n))/σ, dγ = Σ dy·n, dβ = Σ dy.
    """
    emit, node, x = adjoint.emit, adjoint.node, adjoint.operand(0)
    if int_attribute(node, "axis", -1) % emit.ndim(x) != emit.ndim(x) - 1:
        raise ModelError(f"{adjoint.called} normalizes several axes, which has no rule of differentiation")
    (features,) = emit.shape(adjoint.operand(1))
    mean, inverse_deviation = _statistics(adjoint)
    normalized = emit("Mul", emit("Sub", x, mean), inverse_deviation)
    found = {}
    if 0 in adjoint.wanted:
        d = emit("Mul", adjoint.gradient, adjoint.operand(1))
        aligned = _mean(adjoint, emit("Mul", d, normalized))
        centred = emit("Sub", emit("Sub", d, _mean(adjoint, d)), emit("Mul", normalized, aligned))
        found[0] = emit("Mul", centred, inverse_deviation)
    if 1 in adjoint.wanted:
        found[1] = emit.sum_rows(emit.rows(emit("Mul", adjoint.gradient, normalized), features))
    if 2 in adjoint.wanted:
        found[2] = emit.sum_rows(emit.rows(adjoint.gradient, features))
    return found


def _statistics(adjoint: Adjoint) -> tuple[ir.Value, ir.Value]:
    """Have the operator hand out its mean and 1/σ, which are optional outputs."""
    node = adjoint.node
    node.resize_outputs(3)
    for suffix, output in zip(("mean", "inverse_deviation"), node.outputs[1:], strict=True):
        output.name = output.name or f"{adjoint.output.name}/{suffix}"
    return node.outputs[1], node.outputs[2]


def _mean(adjoint: Adjoint, entries: ir.Value) -> ir.Value:
    """Return the mean along the last axis, which stays with size 1."""
    emit = adjoint.emit
    features = emit.shape(adjoint.operand(0))[-1]
    return emit("Mul", emit("ReduceSum", entries, emit.axes(-1)), emit.constant(1 / features))
