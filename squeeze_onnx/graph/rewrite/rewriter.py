"""The only place that changes a graph: a weight becomes two factors, or another weight of the same or of a smaller shape.

    before                          after `factor_site`

    x ─► Gemm(W, bias) ─► y         x ─► MatMul(left) ─► h ─► Gemm(right, bias) ─► y
    ids ─► Gather(table) ─► y       ids ─► Gather(left) ─► h ─► MatMul(right) ─► y

Several weights that read the same x may share left, and h. A product keeps its node, with its name, attributes and output; the
new MatMul goes before it. A lookup has to stay first, so there the new MatMul follows it and takes over its name and its
output. Where nothing else needs the old weight, it is removed with the Identity, Transpose, Cast and DequantizeLinear nodes
around it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.attention_heads import HeadBlock
from squeeze_onnx.graph.match.attention_parts import INFERRED
from squeeze_onnx.graph.match.column_edits import Edit
from squeeze_onnx.graph.match.constants import constant_tensor, constant_vector
from squeeze_onnx.graph.match.consumers import Bias
from squeeze_onnx.graph.match.feed_forward import FeedForward
from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.rotated_heads import RotatedQueryKey
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.operands import exchange, remove_old_weight, set_weight
from squeeze_onnx.graph.rewrite.thin_rotation import RotationWriter
from squeeze_onnx.support.errors import OptionError

INITIALIZERS_OF_THEIR_OWN = 4
"""The first IR version with initializers that are no graph inputs."""


def factor_site(model: ir.Model, site: MatMulSite, left: np.ndarray, right: np.ndarray) -> None:
    """Replace the weight of one site by two factors: see `Rewriter.factor`."""
    Rewriter(model).factor(site, left, right)


def replace_weight(model: ir.Model, site: MatMulSite, weight: np.ndarray) -> None:
    """Replace the weight of one site by another one: see `Rewriter.replace`."""
    Rewriter(model).replace(site, weight)


class Rewriter:
    """Rewrites sites of one model, each at most once; it knows the names that are taken, so many sites cost one search.

    New tensors lie where ``store`` puts them.
    """

    def __init__(self, model: ir.Model, store: Store = in_memory) -> None:
        model.ir_version = max(model.ir_version, INITIALIZERS_OF_THEIR_OWN)
        self._model, self._graph = model, model.graph
        self._rotations = RotationWriter(model)
        self._store = store
        self._taken = names_in(model)

    def factor(self, site: MatMulSite, left: np.ndarray, right: np.ndarray) -> None:
        """Replace the weight of ``site`` by ``left`` (in, r) @ ``right`` (r, out), each cast once to the weight's type.

        Tied nodes share the two factors, and the first product too where they share their input. The factors of a
        quantized weight are float, of the type that its consumer sees.

        Raises OptionError if the shapes do not fit, if r is 0 (rank-1 factors of zeros say the same and are valid ONNX),
        or if an entry is not finite in the weight's type. The model is unchanged then.
        """
        self.factor_jointly([site], left, [right])

    def factor_jointly(self, sites: Sequence[MatMulSite], left: np.ndarray, rights: Sequence[np.ndarray]) -> None:
        """Replace the weight of each of ``sites`` by ``left`` (in, r), which is stored once, @ its own right (r, out).

        The first product is shared where sites share their input. Otherwise, and in what it raises, as `factor`.
        """
        rank = left.shape[-1]
        for site, right in zip(sites, rights, strict=True):
            if rank == 0 or left.shape != (site.in_features, rank) or right.shape != (rank, site.out_features):
                raise OptionError(
                    f"site {site.name!r} needs factors of shapes ({site.in_features}, r) and (r, {site.out_features}) "
                    f"with r > 0, not {left.shape} and {right.shape}"
                )
        first = sites[0]
        left_tensor = _cast(first, left)
        right_tensors = [_cast(site, right) for site, right in zip(sites, rights, strict=True)]
        left_value = self._initializer(first, "left", left_tensor)
        right_values: dict[ir.Node, ir.Value] = {}
        for site, tensor in zip(sites, right_tensors, strict=True):
            right_values |= dict.fromkeys(site.nodes, self._initializer(site, "right", tensor))
        position = {node: index for index, node in enumerate(self._graph)}
        first_products: dict[ir.Value | None, ir.Value] = {}
        for node in sorted(right_values, key=position.__getitem__):
            operator = WEIGHT_OPERATORS[op_of(node)]
            if operator.lookup:
                self._multiply_after(first, node, left_value, right_values[node])
                continue
            rows = node.inputs[operator.rows]
            if rows not in first_products:
                first_products[rows] = self._multiply_before(first, node, rows, left_value)
            node.replace_input_with(operator.rows, first_products[rows])
            set_weight(node, right_values[node])
        for site in sites:
            remove_old_weight(site)

    def replace(self, site: MatMulSite, weight: np.ndarray) -> None:
        """Replace the weight of ``site`` by ``weight`` (in, out), cast once to the weight's type.

        The new weight is a plain initializer; a quantized weight becomes float and takes more bytes.

        Raises OptionError if the shape does not fit or an entry is not finite in the weight's type. The model is
        unchanged then.
        """
        if weight.shape != (site.in_features, site.out_features):
            expected = (site.in_features, site.out_features)
            raise OptionError(f"site {site.name!r} needs a weight of shape {expected}, not {weight.shape}")
        self._put_tensor(site, _cast(site, weight))

    def slice(self, block: FeedForward, kept: np.ndarray, after: np.ndarray) -> None:
        """Keep the neurons ``kept`` (indices) of ``block`` only; ``after`` (kept, out) is the weight that reads them.

        The sites of the block are out of date then. Raises OptionError if the shape does not fit or an entry is not finite in
        the weight's type. The model is unchanged then.
        """
        expected = (len(kept), block.after.out_features)
        if after.shape != expected:
            raise OptionError(f"site {block.after.name!r} needs a weight of shape {expected}, not {after.shape}")
        edits, shapes = block.edits(kept), list(block.shapes_between(kept))
        self._put_tensor(block.after, _cast(block.after, after))
        for site in block.before:
            self._put_tensor(site, _cast(site, site.weight.numpy()[:, block.kept_columns(site, kept)]))
        known: dict[tuple[ir.Value | None, bytes], ir.Value] = {}
        for edit in edits:
            self._edit(block.after, edit, known)
        for value, sizes in shapes:
            if value.shape is not None:
                dims = value.shape.dims if len(value.shape) == len(sizes) else ()
                value.shape = ir.Shape([old if new is None else new for old, new in zip(dims, sizes, strict=False)])

    def _edit(self, site: MatMulSite, edit: Edit, known: dict[tuple[ir.Value | None, bytes], ir.Value]) -> None:
        """Give a node the constant that ``edit`` has for it; ``known`` are those made of what it reads now."""
        if isinstance(edit.operand, str):
            edit.node.attributes[edit.operand] = ir.AttrInt64s(edit.operand, edit.entries.tolist())
            return
        old = edit.node.inputs[edit.operand]
        key = (old, edit.entries.tobytes())
        if key not in known and edit.pieces:
            known[key] = self._joined(site, edit)
        elif key not in known:
            known[key] = self._constant(site, f"vector.{len(known)}", old, edit.entries)
        exchange(edit.node, edit.operand, known[key])

    def _constant(self, site: MatMulSite, suffix: str, old: ir.Value | None, entries: np.ndarray) -> ir.Value:
        """Store ``entries`` in the type of ``old``."""
        tensor = constant_tensor(old)
        assert tensor is not None, "found by find_feed_forwards"
        return self._initializer(site, suffix, ir.Tensor(np.ascontiguousarray(entries), dtype=tensor.dtype))

    def _joined(self, site: MatMulSite, edit: Edit) -> ir.Value:
        """Insert a Concat like that of the operand of ``edit``, with its pieces; return what it joins."""
        assert isinstance(edit.operand, int)
        joined = edit.node.inputs[edit.operand]
        concat = None if joined is None else joined.producer()
        assert joined is not None and concat is not None, "found by find_feed_forwards"
        pieces = [
            old if new is None else self._constant(site, "shape", old, new)
            for old, new in zip(concat.inputs, edit.pieces, strict=True)
        ]
        name = self._free_name(site, "joined_shape")
        node = ir.Node("", "Concat", pieces, concat.attributes.values(), name=name)
        node.outputs[0].name, node.outputs[0].type = name, joined.type
        self._graph.insert_before(edit.node, node)
        return node.outputs[0]

    def narrow(
        self,
        block: HeadBlock,
        columns: int,
        weights: Mapping[str, np.ndarray],
        biases: Mapping[str, np.ndarray],
    ) -> None:
        """Give the sites of ``block`` heads of ``columns`` columns together, by ``weights`` and ``biases`` of these shapes.

        Reshapes that share a constant with others get one of their own. The sites of the block are out of date then. Raises
        OptionError if a shape does not fit or an entry is not finite in the weight's type. The model is unchanged then.
        """
        for name, shape in block.shapes(columns).items():
            if weights[name].shape != shape:
                raise OptionError(f"site {name!r} needs a weight of shape {shape}, not {weights[name].shape}")
        weight_tensors = [(site, _cast(site, weights[site.name])) for site in block.sites]
        bias_tensors = [
            (each.site, each.biases, _cast(each.site, biases[each.site.name], each.bias.tensor.dtype))
            for each in block.before
            if each.bias is not None
        ]
        for site, places, tensor in bias_tensors:
            self._put_bias(site, places, tensor)
        for site, tensor in weight_tensors:
            self._put_tensor(site, tensor)
        for reshape, size in block.reshapes(columns):
            self._set_last_size(block.sites[0], reshape, size)
        block.declare(columns)

    def turn(self, block: RotatedQueryKey, kept: np.ndarray) -> None:
        """Let query and key of ``block``, narrowed already, turn in the pairs ``kept``, (groups, n), of their old dimensions."""
        self._rotations.write(block, kept)
        self._taken |= names_in(self._model)

    def shift_bias(self, site: MatMulSite, bias: Bias, shift: np.ndarray) -> None:
        """Add ``shift`` (out,) to the ``bias`` of ``site``; other nodes that read the same vector keep it as it was.

        Raises OptionError if an entry is not finite in the type of the bias. The model is unchanged then.
        """
        entries = bias.tensor.numpy().astype(np.float64) + shift
        self._put_bias(site, (bias,), _cast(site, entries, bias.tensor.dtype))

    def _put_bias(self, site: MatMulSite, places: Sequence[Bias], tensor: ir.Tensor[np.ndarray]) -> None:
        value = self._initializer(site, "bias", tensor)
        for bias in places:
            exchange(bias.node, bias.operand, value)

    def _put_tensor(self, site: MatMulSite, tensor: ir.Tensor[np.ndarray]) -> None:
        value = self._initializer(site, "weight", tensor)
        for node in site.nodes:
            set_weight(node, value)
        remove_old_weight(site)

    def _set_last_size(self, site: MatMulSite, reshape: ir.Node, size: int) -> None:
        """Let the shape that ``reshape`` gives end with ``size``, unless it is inferred; see `graph.heads`."""
        shape = reshape.inputs[1]
        concat = None if shape is None else shape.producer()
        pieces = [shape] if concat is None or op_of(concat) != "Concat" else list(concat.inputs)
        tensor = constant_vector(pieces[-1])
        assert tensor is not None, "found by graph.heads"
        entries = tensor.numpy().copy()
        if entries[-1] == INFERRED:
            return
        entries[-1] = size
        new = self._initializer(site, "shape", ir.Tensor(entries, dtype=tensor.dtype))
        if len(pieces) > 1:
            assert concat is not None
            name = self._free_name(site, "joined_shape")
            joined = ir.Node("", "Concat", [*pieces[:-1], new], concat.attributes.values(), name=name)
            joined.outputs[0].name, joined.outputs[0].type = name, ir.TensorType(tensor.dtype)
            self._graph.insert_before(reshape, joined)
            new = joined.outputs[0]
        exchange(reshape, 1, new)

    def _multiply_before(self, site: MatMulSite, node: ir.Node, rows: ir.Value | None, left: ir.Value) -> ir.Value:
        """Insert rows @ left before ``node`` and return the product."""
        name = self._free_name(site, "left_product")
        shape = node.outputs[0].shape or (None if rows is None else rows.shape)
        product = ir.Value(name=name, type=left.type, shape=_with_last_size(shape, left))
        self._graph.insert_before(node, ir.Node("", "MatMul", [rows, left], outputs=[product], name=name))
        return product

    def _multiply_after(self, site: MatMulSite, lookup: ir.Node, left: ir.Value, right: ir.Value) -> None:
        """Let ``lookup`` read ``left``; insert the product with ``right``, which takes over its name and its output."""
        looked_up = lookup.outputs[0]
        product = ir.Value(name=looked_up.name, type=looked_up.type, shape=looked_up.shape)
        looked_up.replace_all_uses_with(product, replace_graph_outputs=True)
        multiply = ir.Node("", "MatMul", [looked_up, right], outputs=[product], name=lookup.name)
        self._graph.insert_after(lookup, multiply)
        lookup.name = looked_up.name = self._free_name(site, "left_lookup")
        looked_up.shape = _with_last_size(looked_up.shape, left)
        set_weight(lookup, left)

    def _initializer(self, site: MatMulSite, suffix: str, tensor: ir.Tensor[np.ndarray]) -> ir.Value:
        name = self._free_name(site, suffix)
        tensor.name = name
        stored = self._store(tensor)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=stored)
        self._graph.register_initializer(value)
        return value

    def _free_name(self, site: MatMulSite, suffix: str) -> str:
        name = free_name(f"{site.name}/{suffix}", self._taken)
        self._taken.add(name)
        return name


def _cast(site: MatMulSite, entries: np.ndarray, dtype: ir.DataType | None = None) -> ir.Tensor[np.ndarray]:
    """Return ``entries`` in ``dtype``, or in the type of the weight of ``site``."""
    dtype = dtype or site.weight.dtype
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(entries.astype(dtype.numpy(), copy=False))
    if not np.isfinite(cast).all():
        raise OptionError(
            f"site {site.name!r} would get entries that are not finite in {dtype.name}: exclude it, "
            "or export the model in float32"
        )
    return ir.Tensor(cast, dtype=dtype)


def _with_last_size(shape: ir.Shape | None, left: ir.Value) -> ir.Shape | None:
    """Return ``shape`` with the rank of ``left`` as its last size."""
    if shape is None or left.shape is None:
        return None
    return ir.Shape([*shape.dims[:-1], left.shape[1]])
