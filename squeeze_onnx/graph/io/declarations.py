"""What a graph declares: the types beside its values, and which of them are its outputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import onnx_ir as ir


@contextmanager
def initializers_undeclared(model: ir.Model) -> Iterator[None]:
    """Within the context, initializers that are no graph inputs have no declared type and shape: their tensors say both.

    onnx_ir declares them in ``value_info``, exporters do not, and onnxruntime's quantizer transposes the weights of Gemm nodes
    without changing what is declared; its shape inference then fails.
    """
    graphs = (model.graph, *model.graph.subgraphs())
    declared = [
        (value, value.type, value.shape)
        for graph in graphs
        for value in graph.initializers.values()
        if not value.is_graph_input() and value.const_value is not None
    ]
    try:
        for value, _, _ in declared:
            value.type = value.shape = None
        yield
    finally:
        for value, kind, shape in declared:
            value.type, value.shape = kind, shape


@contextmanager
def outputs_replaced(model: ir.Model, names: Sequence[str]) -> Iterator[None]:
    """Within the context, the outputs of ``model`` are its values of these ``names``: what is saved then, shows them."""
    graph = model.graph
    computed = (value for node in graph for value in node.outputs)
    known = {value.name: value for value in (*graph.inputs, *graph.initializers.values(), *computed)}
    outputs = list(graph.outputs)
    try:
        graph.outputs[:] = [known[name] for name in names]
        yield
    finally:
        graph.outputs[:] = outputs
