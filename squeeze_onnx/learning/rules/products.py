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
        return _of_vectors(adjoint, a, b)
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


def fused_matmul(adjoint: Adjoint) -> Mapping[int, ir.Value]:
    """y = α a' b', where a' and b' are a and b or, of every batch, their transposes (com.microsoft.FusedMatMul)."""
    emit, node = adjoint.emit, adjoint.node
    if int_attribute(node, "transBatchA") or int_attribute(node, "transBatchB"):
        raise ModelError(
            f"{adjoint.called} transposes the batch, which has no rule of differentiation: use the model before it was fused"
        )
    turns = [int_attribute(node, "transA"), int_attribute(node, "transB")]
    dy = emit("Mul", adjoint.gradient, emit.constant(adjoint.float_attribute("alpha", 1.0)))
    found = {}
    for side in adjoint.wanted:
        operand, other = adjoint.operand(side), adjoint.operand(1 - side)
        # The other operand as it is multiplied, transposed: its own transposition and this one undo each other.
        factor = other if turns[1 - side] else _transposed(adjoint, other)
        product = emit("MatMul", dy, factor) if side == 0 else emit("MatMul", factor, dy)
        if turns[side]:
            product = emit("Transpose", product, perm=_last_two_swapped(emit.ndim(adjoint.output)))
        found[side] = _sum_batches(adjoint, product, operand)
    return found


def _of_vectors(adjoint: Adjoint, a: ir.Value, b: ir.Value) -> Mapping[int, ir.Value]:
    """An operand of a single axis weighs the columns of the other one (b), or its rows (a), which are summed."""
    emit = adjoint.emit
    # Where the result lacks the axis that was summed over.
    dy = emit("Unsqueeze", adjoint.gradient, emit.axes(-1 if emit.ndim(b) == 1 else -2))
    vector, matrix, place = (b, a, 1) if emit.ndim(b) == 1 else (a, b, 0)
    column = vector if place == 1 or emit.ndim(matrix) == 1 else emit("Unsqueeze", vector, emit.axes(-1))
    found = {}
    if 1 - place in adjoint.wanted:
        found[1 - place] = emit("Mul", dy, column)
    if place in adjoint.wanted:
        others = [axis for axis in range(emit.ndim(matrix)) if axis != emit.ndim(matrix) - (1 if place == 1 else 2)]
        products = emit("Mul", dy, matrix)
        found[place] = emit("ReduceSum", products, emit.axes(*others), keepdims=0) if others else products
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
    return adjoint.emit("Transpose", matrices, perm=_last_two_swapped(adjoint.emit.ndim(matrices)))


def _last_two_swapped(count: int) -> list[int]:
    axes = range(count)
    return [*axes[:-2], axes[-1], axes[-2]]


def _sum_batches(adjoint: Adjoint, product: ir.Value, operand: ir.Value) -> ir.Value:
    """Sum a ``product`` for every batch over those along which ``operand`` was broadcast."""
    emit = adjoint.emit
    wide, narrow = emit.shape(adjoint.output)[:-2], emit.shape(operand)[:-2]
    leading = len(wide) - len(narrow)
    stretched = [axis for axis in range(leading, len(wide)) if narrow[axis - leading] == 1 != wide[axis]]
    if not leading and not stretched:
        return product
    return emit.reshape_like(emit("ReduceSum", product, emit.axes(*range(leading), *stretched)), operand)
