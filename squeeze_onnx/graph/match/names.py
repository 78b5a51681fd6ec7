"""Names that are still free in a model."""

from collections.abc import Container
from itertools import chain, count

import onnx_ir as ir


def names_in(model: ir.Model) -> set[str]:
    """Return the names of all nodes and values of the graph of ``model`` and of the graphs inside it."""
    names: set[str | None] = set()
    for graph in (model.graph, *model.graph.subgraphs()):
        names.update(value.name for value in graph.inputs)
        names.update(graph.initializers)
        for node in graph:
            names.add(node.name)
            names.update(value.name for value in node.outputs)
    return {name for name in names if name}


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return ``wanted``, or ``wanted`` with the first number that makes it differ from every name in ``taken``."""
    candidates = chain([wanted], (f"{wanted}_{number}" for number in count(1)))
    return next(name for name in candidates if name not in taken)
