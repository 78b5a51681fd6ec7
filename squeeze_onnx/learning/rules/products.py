"""Matrix products. The gradient of a product with a weight is one 2-D product, whatever the batch."""

from collections.abc import Mapping

import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute
from squeeze_onnx.learning.rules.base import Adjoint
from squeeze_onnx.support.errors import ModelError


def matmul(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = a b: da = dy bᵀ, db = aᵀ dy."""
    emit, (a, b) = adjoint.emit, (adjoint.operand(0), adjoint.operand(1))
    if min(emit.ndim(a), emit.ndim(b)) < 2:
        raise ModelError(f"{adjoint.called} multiplies a vector, which has no rule of differentiation: use a matrix")
    if emit.ndim(b) == 2:
        return _by_matrix(adjoint, a, b)
    found = {}
    if 0 in adjoint.wanted:
        product = emit("MatMul", adjoint.gradient, _transposed(adjoint, b))
        found[0] = _sum_batches(adjoint, product, a)
    if 1 in adjoint.wanted:
        product = emit("MatMul", _transposed(adjoint, a), adjoint.gradient)
        found[1] = _sum_batches(adjoint, product, b)
    return found


def gemm(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = α a' b' + β c, where a' and b' are a and b or their transposes."""
    emit, node, (a, b) = adjoint.emit, adjoint.node, (adjoint.operand(0), adjoint.operand(1))
    transposes_a, transposes_b = int_attribute(node, "transA"), int_attribute(node, "transB")
    alpha, beta = (node.attributes[name].as_float() if name in node.attributes else 1.0 for name in ("alpha", "beta"))
    dy, found = adjoint.gradient, {}
    if 0 in adjoint.wanted:
        if transposes_a:
            found[0] = emit("Gemm", b, dy, transA=transposes_b, transB=1, alpha=alpha)
        else:
            found[0] = emit("Gemm", dy, b, transB=1 - transposes_b, alpha=alpha)
    if 1 in adjoint.wanted:
        if transposes_b:
            found[1] = emit("Gemm", dy, a, transA=1, transB=transposes_a, alpha=alpha)
        else:
            found[1] = emit("Gemm", a, dy, transA=1 - transposes_a, alpha=alpha)
    if 2 in adjoint.wanted:
        scaled = dy if beta == 1 else emit("Mul", dy, emit.constant(beta))
        found[2] = emit.sum_to(scaled, adjoint.output, adjoint.operand(2))
    return found


def _by_matrix(adjoint: Adjoint, a: ir.Value, b: ir.Value) -> Mapping[int, ir.Value]:
    """The leading axes of ``a`` are so many rows."""
    emit = adjoint.emit
    inner, outer = emit.shape(b)
    found = {}
    rows = emit.rows(adjoint.gradient, outer)
    if 0 in adjoint.wanted:
        found[0] = emit.reshape_like(emit("Gemm", rows, b, transB=1), a)
    if 1 in adjoint.wanted:
        found[1] = emit("Gemm", emit.rows(a, inner), rows, transA=1)
    return found


def _transposed(adjoint: Adjoint, matrices: ir.Value) -> ir.Value:
    axes = range(adjoint.emit.ndim(matrices))
    return adjoint.emit("Transpose", matrices, perm=[*axes[:-2], axes[-1], axes[-2]])


def _sum_batches(adjoint: Adjoint, product: ir.Value, operand: ir.Value) -> ir.Value:
    """Sum a ``product`` for every batch over those along which ``operand`` was broadcast."""
    emit = adjoint.emit
    wide, narrow = emit.shape(adjoint.output)[:-2], emit.shape(operand)[:-2]
    leading = len(wide) - len(narrow)
    stretched = [axis for axis in range(leading, len(wide)) if narrow[axis - leading] == 1 != wide[axis]]
    if not leading and not stretched:
        return product
    return emit.reshape_like(emit("ReduceSum", product, emit.axes(*range(leading), *stretched)), operand)
