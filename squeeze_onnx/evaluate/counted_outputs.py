"""Which outputs of a graph are its answer: the logits of a decoder are, the keys and values for its cache are not."""

import re

import onnx_ir as ir

from squeeze_onnx.graph.rewrite.segments import ancestors

_CACHE = re.compile(r"(^|[._/])(present|past|cache|mems)([._/]|_key|_value|\d|$)", re.IGNORECASE)
"""Names that exporters give to what goes into a cache."""

ANSWERS = ("logits", "last_hidden_state", "token_embeddings", "sentence_embedding")
"""Outputs that are an answer although another output may be made of them, as a pooler's is."""


def counted_outputs(graph: ir.Graph, answer: str | None = None) -> tuple[str, ...]:
    """Return the names of the floating-point outputs of ``graph`` that are its answer, in order; all of them if none would be.

    Where one is named as the ``answer`` it is that one. A step on the way to another output (keys and values, hidden states,
    attention) counts in that one.
    """
    if answer is not None:
        return (answer,)
    floats = [value for value in graph.outputs if value.dtype is None or value.dtype.is_floating_point()]
    kept = [value for value in floats if not _CACHE.search(str(value.name))] or floats
    before = {value: _before(value) for value in kept}
    found = [
        value
        for value in kept
        if value.name in ANSWERS or not any(value.producer() in before[other] for other in kept if other is not value)
    ]
    return tuple(str(value.name) for value in found or floats or graph.outputs)


def _before(value: ir.Value) -> set[ir.Node]:
    """Return the nodes that come before the one that returns ``value``."""
    node = value.producer()
    return set() if node is None else ancestors(value) - {node}
