"""Attention cores: where softmax(query · keyᵀ + …) · value is computed, in one fused node or spelled out."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.constants import is_constant
from squeeze_onnx.graph.match.dataflow import Stop, downstream, upstream
from squeeze_onnx.graph.match.operators import ATTENTION_CORES, PACKED_ATTENTION, PRODUCTS, SOFTMAXES, op_of


@dataclass(frozen=True)
class AttentionCore:
    """One attention: the values it takes as query, key and value, and the node that returns the context.

    A core that holds the packed projections itself takes none of the three. ``scores`` multiplies query and key, unless the node
    does that itself.
    """

    operands: tuple[ir.Value, ...]
    node: ir.Node
    scores: ir.Node | None = None


def attention_cores(graph: ir.Graph, stop: Stop) -> list[AttentionCore]:
    """Return the attention cores of ``graph`` in graph order; ``stop`` ends the search for the parts of a core."""
    order = {node: position for position, node in enumerate(graph)}
    cores: list[AttentionCore] = []
    for node in graph:
        op = op_of(node)
        if op == PACKED_ATTENTION:
            cores.append(AttentionCore((), node))
        elif op in ATTENTION_CORES:
            cores.append(_fused(node))
        elif op in SOFTMAXES:
            cores.extend(_spelled_out(node, order, stop))
    return cores


def _fused(node: ir.Node) -> AttentionCore:
    operands: list[ir.Value] = []
    for value in (*node.inputs, None, None)[:3]:
        if value is not None:
            operands.append(value)
        elif operands:  # left out: packed into the operand before
            operands.append(operands[-1])
    return AttentionCore(tuple(operands), node)


def _spelled_out(softmax: ir.Node, order: dict[ir.Node, int], stop: Stop) -> Iterator[AttentionCore]:
    """Yield the core around ``softmax``, or nothing if it is some other softmax."""
    logits = softmax.inputs[0]
    scores = [] if logits is None else [node for node in upstream(logits, stop) if _factors(node)]
    probabilities = [softmax]
    for node in downstream(softmax.outputs[0], stop):
        if scores and _factors(node):
            # Relative positions may add products of their own to the scores; content times content comes first.
            first = min(scores, key=order.__getitem__)
            query, key = _factors(first)
            values = [factor for factor in _factors(node) if factor.producer() not in probabilities]
            yield AttentionCore((query, key, *values), node, first)
            return
        probabilities.append(node)


def _factors(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the two activations that ``node`` multiplies, or nothing if it does something else."""
    places = PRODUCTS.get(op_of(node), ())
    if len(node.inputs) <= max(places, default=0):  # an Einsum of one operand permutes or sums its axes
        return ()
    values = [node.inputs[index] for index in places]
    factors = tuple(value for value in values if value is not None and not is_constant(value))
    return factors if len(factors) == 2 else ()
