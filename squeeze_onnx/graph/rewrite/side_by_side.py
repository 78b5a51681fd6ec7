"""Two models in one graph, so that one session runs both: what they share is stored and opened once."""

from collections.abc import Iterator

import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in


def side_by_side(one: ir.Model, other: ir.Model, prefix: str) -> tuple[ir.Model, dict[str, str]]:
    """Return a model that computes what ``one`` and ``other`` do, and how the inputs and outputs of ``one`` are called in it.

    Everything of ``one`` has ``prefix`` before its name, that of ``other`` keeps its own. A weight that both hold in the same
    tensor under the same name is there once. Both models are used up.
    """
    taken = names_in(other)
    called: dict[str, str] = {}
    weights = dict(other.graph.initializers)
    for value in list(one.graph.initializers.values()):
        stored = weights.get(str(value.name))
        if stored is None or stored.const_value is not value.const_value or value.is_graph_input():
            stored = _renamed_weight(value, free_name(f"{prefix}{value.name}", taken))
            taken.add(str(stored.name))
            weights[str(stored.name)] = stored
        value.replace_all_uses_with(stored, replace_graph_outputs=True)
    for value in _values(one.graph):
        called[str(value.name)] = free_name(f"{prefix}{value.name}", taken)
        value.name = called[str(value.name)]
        taken.add(value.name)
    for node in one.graph:
        node.name = free_name(f"{prefix}{node.name}", taken)
        taken.add(node.name)
    graphs = (one.graph, other.graph)
    nodes = [node for graph in graphs for node in graph]
    inputs = [value for graph in graphs for value in graph.inputs]
    outputs = [value for graph in graphs for value in graph.outputs]
    opset_imports = {**one.graph.opset_imports, **other.graph.opset_imports}
    for graph in graphs:
        graph.inputs.clear()
        graph.outputs.clear()
        graph.initializers.clear()
        graph.remove(list(graph))
    both = ir.Graph(
        inputs,
        outputs,
        nodes=nodes,
        initializers=list(weights.values()),
        opset_imports=opset_imports,
        name=other.graph.name,
    )
    functions = {**one.functions, **other.functions}
    return ir.Model(both, ir_version=other.ir_version, functions=tuple(functions.values())), called


def _renamed_weight(value: ir.Value, name: str) -> ir.Value:
    """Return an initializer with the entries of ``value``, whose tensor, which other models use, keeps its name."""
    tensor = value.const_value
    assert tensor is not None, "an initializer has a tensor"
    shape = ir.Shape(tensor.shape.numpy())
    renamed = ir.LazyTensor(lambda: tensor, tensor.dtype, shape, name=name)
    return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=renamed)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield what ``graph`` is fed and what its nodes compute."""
    yield from graph.inputs
    for node in graph:
        yield from (value for value in node.outputs if value.name)
