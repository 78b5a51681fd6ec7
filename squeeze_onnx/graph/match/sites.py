"""The weights of a model that a product of two matrices could replace, and why the other ones cannot be.

A site is one stored matrix with every node that uses it. Each is oriented as ONNX computes, X @ W with W (in, out),
whatever the operator and the exporter made of it.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import (
    ConstantMatrix,
    UnusableConstant,
    foldable_values,
    is_constant,
    reaches_graph_output,
    resolve_constant,
    uses_of_constant,
)
from squeeze_onnx.graph.match.names import free_name
from squeeze_onnx.graph.match.operators import (
    CLOSED_OPERATORS,
    WEIGHT_OPERATORS,
    WeightOperator,
    int_attribute,
    op_of,
    operand,
)
from squeeze_onnx.graph.match.roles import Role, place_weights

INLINE = "inline the functions first, onnx.inliner.inline_local_functions does that"
FOLD = "fold the constants first, `onnxsim MODEL FOLDED` does that"

_INDEX_TYPES = frozenset({ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING})


@dataclass(frozen=True)
class MatMulSite:
    """A weight that ``left @ right`` can replace.

    name: unique in the model, and the same whenever the same file is read.
    nodes: the nodes that use the weight, in graph order; several if it is tied.
    weight: the matrix (in_features, out_features), not read yet.
    layer: index of the attention layer, None outside the layers; where it is used first if layers share it.
    """

    name: str
    nodes: tuple[ir.Node, ...]
    weight: ConstantMatrix
    layer: int | None
    role: Role
    in_features: int
    out_features: int

    @property
    def parameters(self) -> int:
        """The number of entries of the weight."""
        return self.in_features * self.out_features

    @property
    def break_even_rank(self) -> int:
        """The largest rank r at which factors have fewer entries than the weight: r(in + out) < in·out; 0 if none."""
        return (self.parameters - 1) // (self.in_features + self.out_features)


@dataclass(frozen=True)
class SkippedSite:
    """A weight that is left alone; ``reason`` is a sentence about the node ``name``."""

    name: str
    reason: str


@dataclass(frozen=True)
class SiteSearch:
    """What `find_sites` found, both in graph order."""

    sites: tuple[MatMulSite, ...]
    skipped: tuple[SkippedSite, ...]


@dataclass(frozen=True)
class _Use:
    """One node that uses a matrix, and the matrix as (in, out)."""

    node: ir.Node
    operator: WeightOperator
    matrix: ConstantMatrix


def find_sites(model: ir.Model) -> SiteSearch:
    """Return the sites of ``model`` and the weights that are skipped, both in graph order. Reads no weight."""
    places = dict(_places(model))
    foldable = foldable_values(model.graph)
    reasons: dict[ir.Node, str] = {}
    tied: dict[ir.Value, list[_Use]] = {}
    for node, place in places.items():
        finding = _inspect(node, foldable)
        if finding is not None and place is not None:
            reasons[node] = f"{op_of(node)} lies in {place}, which is not rewritten"
        elif isinstance(finding, _Use):
            tied.setdefault(finding.matrix.source, []).append(finding)
        elif finding is not None:
            reasons[node] = finding
        elif node.op_identifier() in model.functions and _has_matrix_operand(node):
            reasons[node] = f"{op_of(node)} hands its weight to a model-local function; {INLINE}"
    groups = []
    for uses in tied.values():
        conflict = _conflict(uses)
        if conflict is None:
            groups.append(uses)
        else:
            reasons[uses[0].node] = conflict
    names = _unique_names(places)
    skipped = (SkippedSite(names[node], reasons[node]) for node in places if node in reasons)
    return SiteSearch(tuple(_sites(model.graph, groups, names)), tuple(skipped))


def _places(model: ir.Model) -> Iterator[tuple[ir.Node, str | None]]:
    """Yield every node of ``model``, and where it lies if that is not the main graph."""
    for node in model.graph.all_nodes():
        yield node, None if node.graph is model.graph else "the body of an If, Loop or Scan"
    for function in model.functions.values():
        for node in function.all_nodes():
            yield node, f"the model-local function {function.name!r}"


def _sites(graph: ir.Graph, groups: Sequence[Sequence[_Use]], names: Mapping[ir.Node, str]) -> Iterator[MatMulSite]:
    nodes_of = [tuple(use.node for use in uses) for uses in groups]
    for uses, nodes, placement in zip(groups, nodes_of, place_weights(graph, nodes_of), strict=True):
        matrix = uses[0].matrix
        yield MatMulSite(names[nodes[0]], nodes, matrix, placement.layer, placement.role, *matrix.shape)


def _inspect(node: ir.Node, foldable: Container[ir.Value]) -> _Use | str | None:
    """Return how ``node`` uses a weight, or why its weight cannot be rewritten, or None if it has no weight."""
    op = op_of(node)
    if op in CLOSED_OPERATORS:
        operands, why = CLOSED_OPERATORS[op]
        return f"{op} {why}" if any(is_constant(operand(node, index)) for index in operands) else None
    operator = WEIGHT_OPERATORS.get(op)
    if operator is None:
        return None
    constant = resolve_constant(operand(node, operator.weight))
    if constant is not None:
        return _inspect_weight(node, operator, constant)
    if operator.lookup:
        return None
    if operand(node, operator.weight) in foldable:
        return f"{op} has a weight that is computed from constants; {FOLD}"
    return f"{op} has its constant operand on the left" if is_constant(operand(node, operator.rows)) else None


def _inspect_weight(
    node: ir.Node, operator: WeightOperator, constant: ConstantMatrix | UnusableConstant
) -> _Use | str | None:
    op = op_of(node)
    if operator.lookup and not _is_table(constant.tensor):
        return None  # a constant shape, position or mask that is indexed
    if isinstance(constant, UnusableConstant):
        return f"{op} {constant.reason}"
    for name in operator.off:
        if int_attribute(node, name) != 0:
            return f"{op} has {name} = {int_attribute(node, name)}, which a product with two factors cannot express"
    return _Use(node, operator, constant.transpose() if operator.transposes_weight(node) else constant)


def _conflict(uses: Sequence[_Use]) -> str | None:
    """Return why the uses of one stored weight cannot be rewritten together, or None if they can."""
    first = uses[0]
    source = first.matrix.source
    if reaches_graph_output(source):
        return f"{op_of(first.node)} has a weight, {source.name!r}, that is also an output of the model"
    rewritten = {(use.node, use.operator.weight) for use in uses}
    strangers = [node for node, index in uses_of_constant(source) if (node, index) not in rewritten]
    strangers += [use.node for use in uses if not _alike(first, use)]
    if strangers:
        other = f"{op_of(strangers[0])} {strangers[0].name!r}"
        return f"{op_of(first.node)} shares its weight, {source.name!r}, with {other}, which uses it in another way"
    return None


def _alike(first: _Use, second: _Use) -> bool:
    return first.operator.lookup == second.operator.lookup and first.matrix.same_as(second.matrix)


def _is_table(tensor: ir.TensorProtocol) -> bool:
    return len(tensor.shape) == 2 and tensor.dtype not in _INDEX_TYPES


def _has_matrix_operand(node: ir.Node) -> bool:
    return any(isinstance(resolve_constant(value), ConstantMatrix) for value in node.inputs)


def _unique_names(nodes: Iterable[ir.Node]) -> dict[ir.Node, str]:
    """Return a name for each node: its own, or its operator and output if it has none or an earlier node has it."""
    names: dict[ir.Node, str] = {}
    taken: set[str] = set()
    for node in nodes:
        unnamed = not node.name or node.name in taken
        names[node] = free_name(f"{node.op_type}:{node.outputs[0].name}", taken) if unnamed else str(node.name)
        taken.add(names[node])
    return names
