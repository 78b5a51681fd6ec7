"""Storing once what an exporter wrote several times.

x ─► MatMul(W) ─► … ─► MatMul(copy of W) ─►        x ─► MatMul(W) ─► … ─► MatMul(W) ─►
"""

import onnx_ir as ir

from squeeze_onnx.graph.match.copies import equal_sites


def store_once(model: ir.Model) -> int:
    """Let all nodes of ``model`` that use equal weights alike read the first one; return how many copies are gone.

    They are one site afterwards: tied, and rewritten together. The graph changes in place, and computes what it did.
    """
    gone = 0
    for first, *copies in equal_sites(model):
        for copy in copies:
            source = copy.weight.source
            source.replace_all_uses_with(first.weight.source)
            _remove(model.graph, source)
            gone += 1
    return gone


def _remove(graph: ir.Graph, source: ir.Value) -> None:
    node = source.producer()
    if node is None:
        del graph.initializers[str(source.name)]
    else:
        graph.remove(node, safe=True)
