"""Types that are declared beside the values of a graph."""

from collections.abc import Iterator
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
