"""The only place that changes a graph: a weight becomes two factors, or another weight of the same shape.

    before                          after `factor_site`

    x ─► Gemm(W, bias) ─► y         x ─► MatMul(left) ─► h ─► Gemm(right, bias) ─► y
    ids ─► Gather(table) ─► y       ids ─► Gather(left) ─► h ─► MatMul(right) ─► y

A product keeps its node, with its name, attributes and output; the new MatMul goes before it. A lookup has to stay first,
so there the new MatMul follows it and takes over its name and its output. Where the old weight is needed by nothing else,
it is removed with the Identity, Transpose, Cast and DequantizeLinear nodes around it.
"""

import numpy as np
import onnx_ir as ir

from squeeze_onnx.errors import OptionError
from squeeze_onnx.graph.constants import views_of
from squeeze_onnx.graph.names import free_name, names_in
from squeeze_onnx.graph.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.sites import MatMulSite


def factor_site(model: ir.Model, site: MatMulSite, left: np.ndarray, right: np.ndarray) -> None:
    """Replace the weight of ``site`` by ``left`` (in, r) @ ``right`` (r, out), each cast once to the weight's type.

    Tied nodes share the two factors, and the first product too where they share their input. The factors of a quantized
    weight are float, of the type that its consumer sees. A site can be rewritten once.

    Raises OptionError if the shapes do not fit, if r is 0 (rank-1 factors of zeros say the same and are valid ONNX), or
    if an entry is not finite in the weight's type.
    """
    rank = left.shape[-1]
    if rank == 0 or left.shape != (site.in_features, rank) or right.shape != (rank, site.out_features):
        raise OptionError(
            f"site {site.name!r} needs factors of shapes ({site.in_features}, r) and (r, {site.out_features}) with r > 0, "
            f"not {left.shape} and {right.shape}"
        )
    _Rewrite(model, site).factor(left, right)


def replace_weight(model: ir.Model, site: MatMulSite, weight: np.ndarray) -> None:
    """Replace the weight of ``site`` by ``weight`` (in, out), cast once to the weight's type. A site can be rewritten once.

    The new weight is a plain initializer; a quantized weight becomes float and takes more bytes.

    Raises OptionError if the shape does not fit or an entry is not finite in the weight's type.
    """
    if weight.shape != (site.in_features, site.out_features):
        expected = (site.in_features, site.out_features)
        raise OptionError(f"site {site.name!r} needs a weight of shape {expected}, not {weight.shape}")
    _Rewrite(model, site).replace(weight)


class _Rewrite:
    """One change of one site: the names that are taken, and the steps."""

    def __init__(self, model: ir.Model, site: MatMulSite) -> None:
        self.graph = model.graph
        self.site = site
        self.taken = names_in(model)

    def factor(self, left: np.ndarray, right: np.ndarray) -> None:
        left_value, right_value = self._initializer("left", left), self._initializer("right", right)
        first_products: dict[ir.Value | None, ir.Value] = {}
        for node in self.site.nodes:
            operator = WEIGHT_OPERATORS[op_of(node)]
            if operator.lookup:
                self._multiply_after(node, left_value, right_value)
                continue
            rows = node.inputs[operator.rows]
            if rows not in first_products:
                first_products[rows] = self._multiply_before(node, rows, left_value)
            node.replace_input_with(operator.rows, first_products[rows])
            self._set_weight(node, right_value)
        self._remove_old_weight()

    def replace(self, weight: np.ndarray) -> None:
        value = self._initializer("weight", weight)
        for node in self.site.nodes:
            self._set_weight(node, value)
        self._remove_old_weight()

    def _multiply_before(self, node: ir.Node, rows: ir.Value | None, left: ir.Value) -> ir.Value:
        """Insert rows @ left before ``node`` and return the product."""
        name = self._free("left_product")
        shape = node.outputs[0].shape or (None if rows is None else rows.shape)
        product = ir.Value(name=name, type=left.type, shape=_with_last_size(shape, left))
        self.graph.insert_before(node, ir.Node("", "MatMul", [rows, left], outputs=[product], name=name))
        return product

    def _multiply_after(self, lookup: ir.Node, left: ir.Value, right: ir.Value) -> None:
        """Let ``lookup`` read ``left``, and insert the product with ``right``, which takes over its name and output."""
        looked_up = lookup.outputs[0]
        product = ir.Value(name=looked_up.name, type=looked_up.type, shape=looked_up.shape)
        looked_up.replace_all_uses_with(product, replace_graph_outputs=True)
        self.graph.insert_after(lookup, ir.Node("", "MatMul", [looked_up, right], outputs=[product], name=lookup.name))
        lookup.name = looked_up.name = self._free("left_lookup")
        looked_up.shape = _with_last_size(looked_up.shape, left)
        self._set_weight(lookup, left)

    def _set_weight(self, node: ir.Node, value: ir.Value) -> None:
        """Give ``node`` the constant ``value`` (in, out) as its weight."""
        operator = WEIGHT_OPERATORS[op_of(node)]
        node.replace_input_with(operator.weight, value)
        if operator.transpose is not None:
            node.attributes.pop(operator.transpose, None)

    def _remove_old_weight(self) -> None:
        """Remove the old weight and everything around it that is of no use any more, or never was."""
        for view in reversed(list(views_of(self.site.weight.source))):
            _remove_unused(view)

    def _initializer(self, suffix: str, entries: np.ndarray) -> ir.Value:
        """Register ``entries``, cast to the weight's type, under a free name that begins with the site's."""
        dtype = self.site.weight.dtype
        with np.errstate(over="ignore"):
            cast = np.ascontiguousarray(entries.astype(dtype.numpy()))
        if not np.isfinite(cast).all():
            raise OptionError(
                f"site {self.site.name!r} would get entries that are not finite in {dtype.name}: exclude it, "
                "or convert the model to FLOAT first"
            )
        name = self._free(suffix)
        value = ir.Value(
            name=name,
            type=ir.TensorType(dtype),
            shape=ir.Shape(cast.shape),
            const_value=ir.Tensor(cast, dtype=dtype, name=name),
        )
        self.graph.register_initializer(value)
        return value

    def _free(self, suffix: str) -> str:
        name = free_name(f"{self.site.name}/{suffix}", self.taken)
        self.taken.add(name)
        return name


def _with_last_size(shape: ir.Shape | None, left: ir.Value) -> ir.Shape | None:
    """Return ``shape`` with the rank of ``left`` as its last size."""
    if shape is None or left.shape is None:
        return None
    return ir.Shape([*shape.dims[:-1], left.shape[1]])


def _remove_unused(value: ir.Value) -> None:
    """Remove the constant ``value``, and what it is made from, as far as nothing needs them."""
    node, graph = value.producer(), value.graph
    if graph is None or value.uses() or value.is_graph_output():
        return  # removed before, or needed
    if node is None:
        del graph.initializers[str(value.name)]
        return
    operands = [operand for operand in node.inputs if operand is not None]
    graph.remove(node, safe=True)
    for operand in operands:
        _remove_unused(operand)
