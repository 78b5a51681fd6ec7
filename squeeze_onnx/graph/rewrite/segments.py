"""A graph cut into consecutive parts, so that it can run as far as some value, wait, and go on from there.

A model squeezed weight by weight runs only once this way: what a part computed and a later part needs is kept, and the
weights of the later parts may change in between.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import foldable_values, is_constant


@dataclass(frozen=True)
class Segment:
    """One part of a cut graph, in names of values.

    inputs: what it reads of the graph's inputs and of earlier parts.
    outputs: what it computes that is wanted of it, or that later parts need.
    kept: all that later parts need and that exists when this part is done.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: tuple[str, ...]


def cut(graph: ir.Graph, wanted: Sequence[Sequence[str]]) -> tuple[Segment, ...]:
    """Return the parts of ``graph`` that compute each of the ``wanted`` values in turn; a node is in the first that needs it.

    What depends on no input of the graph belongs to every part that needs it, so nothing is kept for it.
    """
    named = ir.convenience.create_value_mapping(graph, include_subgraphs=False)
    fixed = foldable_values(graph)
    goals = [[named[name] for name in names] for names in wanted]
    known = set(graph.inputs)
    made: list[set[ir.Value]] = []
    read: list[set[ir.Value]] = []
    for goal in goals:
        computed, entering = _back_to(known, goal, fixed)
        made.append(computed)
        read.append(entering)
        known |= computed
    parts = []
    known = set(graph.inputs)
    for index, goal in enumerate(goals):
        needed_later = set().union(*read[index + 1 :], *goals[index + 1 :])
        known |= made[index]
        parts.append(
            Segment(
                inputs=_names(read[index]),
                outputs=_names(made[index] & needed_later.union(goal)),
                kept=_names(known & needed_later),
            )
        )
    return tuple(parts)


def extract(model: ir.Model, part: Segment, types: Mapping[str, ir.DataType]) -> ir.Model:
    """Return ``part`` of ``model`` as a model of its own, which shares the weights; ``types`` are those of its inputs."""
    graph = ir.convenience.extract(model.graph, part.inputs, part.outputs)
    for value in graph.inputs:
        value.type = ir.TensorType(types[str(value.name)])
    graph.meta.update(model.graph.meta)
    return ir.Model(graph, ir_version=model.ir_version, functions=tuple(model.functions.values()))


def initializers_of(graph: ir.Graph, part: Segment) -> frozenset[str]:
    """Return the names of the initializers that ``part`` of ``graph`` depends on, its inputs aside."""
    named = ir.convenience.create_value_mapping(graph, include_subgraphs=False)
    nodes = _computing([named[name] for name in part.outputs], {named[name] for name in part.inputs})
    return frozenset(str(value.name) for node in nodes for value in _read_by(node) if value.is_initializer())


def ancestors(value: ir.Value) -> set[ir.Node]:
    """Return every node that ``value`` depends on, in any way."""
    return _computing([value], ())


def _computing(values: Iterable[ir.Value], known: Collection[ir.Value]) -> set[ir.Node]:
    """Return every node that ``values`` depend on if those that are ``known`` depend on nothing."""
    found: set[ir.Node] = set()
    pending = list(values)
    while pending:
        value = pending.pop()
        node = None if value in known else value.producer()
        if node is not None and node not in found:
            found.add(node)
            pending.extend(_read_by(node))
    return found


def _back_to(
    known: Collection[ir.Value], goal: Iterable[ir.Value], fixed: Collection[ir.Value]
) -> tuple[set[ir.Value], set[ir.Value]]:
    """Return the values to compute for ``goal`` that are not ``known``, and the known ones that this takes."""
    computed: set[ir.Value] = set()
    entering: set[ir.Value] = set()
    pending = [value for value in goal if value not in known]
    while pending:
        node = pending.pop().producer()
        if node is None or computed.issuperset(node.outputs):
            continue
        computed.update(node.outputs)
        operands = [value for value in _read_by(node) if value not in fixed and not is_constant(value)]
        entering.update(value for value in operands if value in known)
        pending.extend(value for value in operands if value not in known)
    return computed, entering


def _read_by(node: ir.Node) -> Iterable[ir.Value]:
    """Yield what ``node`` reads, and what the graphs inside it (of an If, a Loop) read from around it."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            graphs = attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else [attribute.as_graph()]
            for graph in graphs:
                for inner in ir.traversal.RecursiveGraphIterator(graph):
                    yield from (value for value in inner.inputs if value is not None and value.graph is node.graph)


def _names(values: Iterable[ir.Value]) -> tuple[str, ...]:
    return tuple(sorted(str(value.name) for value in values))
