"""Residual sums with their normalization, biases with their activation and embedding sums, each as one operator.

x + bias ─► + stream ─► LayerNormalization        SkipLayerNormalization(x, stream, gamma, beta, bias)
x + bias ─► x/2 · (1 + erf(x/√2))                 BiasGelu(x, bias)
words[ids] + … ─► LayerNormalization              EmbedLayerNormalization(ids, …)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np
import onnx_ir as ir
from scipy.special import erf

from squeeze_onnx.graph.match.behaviour import UncomputableError, batch_and_tokens, compute, small_shape
from squeeze_onnx.graph.match.constants import ConstantMatrix, constant_vector, resolve_constant
from squeeze_onnx.graph.match.dataflow import data_inputs, downstream, upstream
from squeeze_onnx.graph.match.operators import LAYER_NORMALIZATIONS, LOOKUP, int_attribute, mixes, op_of
from squeeze_onnx.graph.match.projections import split_bias
from squeeze_onnx.graph.rewrite.insertion import Inserter

_LONGEST_GELU = 8
"""Nodes before and after the sigmoid-like function of a Gelu, at most."""


@dataclass(frozen=True)
class FusedActivation:
    """A kind of Gelu: its function of x, and the operators that compute it with a bias and without."""

    function: Callable[[np.ndarray], np.ndarray]
    biased: str
    plain: str


_GELUS = {
    "Erf": FusedActivation(lambda x: x / 2 * (1 + erf(x / np.sqrt(2))), "com.microsoft.BiasGelu", "com.microsoft.Gelu"),
    "Tanh": FusedActivation(
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "com.microsoft.FastGelu",
        "com.microsoft.FastGelu",
    ),
}
"""The operator that a Gelu is spelled out with → what it is then (Hendrycks & Gimpel 2016: exact, and approximated)."""


def fuse_gelu(inserter: Inserter) -> None:
    """Replace every Gelu that is spelled out, with the bias before it if there is one."""
    for node in list(inserter.graph):
        activation = _GELUS.get(op_of(node))
        found = None if activation is None else _find_activation(node, activation)
        if activation is not None and found is not None:
            argument, result = found
            source = split_bias(argument)
            op = activation.plain if source.bias is None else activation.biased
            _replace(inserter, result, op, [source.term, source.bias])


def fuse_exact_gelu(inserter: Inserter) -> None:
    """Replace every Gelu that is spelled out with Erf; a bias before it stays a node of its own."""
    exact = _GELUS["Erf"]
    for node in list(inserter.graph):
        found = _find_activation(node, exact) if op_of(node) == "Erf" else None
        if found is not None:
            argument, result = found
            _replace(inserter, result, exact.plain, [argument])


def _find_activation(node: ir.Node, activation: FusedActivation) -> tuple[ir.Value, ir.Value] | None:
    """Return the values around ``node`` of which the latter is ``activation`` of the former, None if there are none."""
    before = [value for each in islice(_before(node), _LONGEST_GELU) for value in each.outputs if len(value.uses()) > 1]
    after = [each.outputs[0] for each in islice(downstream(node.outputs[0], _is_mixer), _LONGEST_GELU)]
    for argument, result in product(before, after):
        bias = constant_vector(split_bias(argument).bias)
        dtype = np.dtype(np.float32) if bias is None else bias.dtype.numpy()
        x = np.linspace(-4, 4, 9, dtype=dtype).reshape(1, 1, -1)
        try:
            [found] = compute([result], {argument: x})
        except UncomputableError:
            continue
        tolerance = 100 * float(np.finfo(dtype).eps)
        if found.shape == x.shape and np.allclose(found, activation.function(x), rtol=0, atol=tolerance):
            return argument, result
    return None


def _before(node: ir.Node) -> Iterator[ir.Node]:
    operand = node.inputs[0]
    return iter(()) if operand is None else upstream(operand, _is_mixer)


def fuse_skip_normalization(inserter: Inserter) -> None:
    """Replace every LayerNormalization of a sum of two streams, neither of which is broadcast over the other."""
    for node in list(inserter.graph):
        total = _normalized_sum(node)
        if total is None or not all(_is_stream(value) for value in data_inputs(total)):
            continue
        first, second = data_inputs(total)
        source, skip = (split_bias(first), second) if split_bias(first).bias else (split_bias(second), first)
        scale, shift = _scale_and_shift(node)
        operands = [source.term, skip, scale, shift, source.bias]
        _replace(inserter, node.outputs[0], "com.microsoft.SkipLayerNormalization", operands, **_epsilon(node))


def keep_sums_apart(inserter: Inserter) -> None:
    """Write every sum that is normalized as Sum, which ONNX Runtime does not fuse with the normalization by itself."""
    for node in list(inserter.graph):
        total = _normalized_sum(node)
        if total is not None:
            _replace(inserter, total.outputs[0], "Sum", list(total.inputs))


def _is_stream(value: ir.Value) -> bool:
    """Whether ``value`` has a row for each token of each sequence: a product or a normalization, up to a bias."""
    producer = split_bias(value).term.producer()
    return producer is not None and (_is_mixer(producer) or op_of(producer) in LAYER_NORMALIZATIONS)


def fuse_embedding_normalization(inserter: Inserter) -> None:
    """Replace every LayerNormalization of a sum of two or three rows looked up in tables."""
    for node in list(inserter.graph):
        total = _normalized_sum(node)
        lookups = [] if total is None else _lookups_in(total)
        order = _word_position_segment(lookups) if len(lookups) in {2, 3} else None
        if order is None or None in _scale_and_shift(node):
            continue
        tables: list[ir.Value | None] = [lookup.inputs[0] for lookup in order]
        words, positions, *segments = (
            inserter.node("Cast", [lookup.inputs[1]], before=node, to=ir.DataType.INT32) for lookup in order
        )
        segment, table = (segments[0], tables[2]) if segments else (None, None)
        operands = [words, segment, tables[0], tables[1], table, *_scale_and_shift(node), None, positions]
        op = "com.microsoft.EmbedLayerNormalization"
        _replace(inserter, node.outputs[0], op, operands, outputs=2, **_epsilon(node))


def _lookups_in(total: ir.Node) -> list[ir.Node]:
    """Return the lookups that ``total`` adds up, nothing if it adds anything else."""
    found: list[ir.Node] = []
    for value in data_inputs(total):
        node = value.producer()
        if node is not None and op_of(node) == LOOKUP and int_attribute(node, "axis") == 0:
            found.append(node)
        elif node is not None and op_of(node) == "Add":
            found.extend(_lookups_in(node) or [node])
        else:
            return []
    tables = [resolve_constant(node.inputs[0]) for node in found]
    return found if all(isinstance(table, ConstantMatrix) for table in tables) else []


def _word_position_segment(lookups: list[ir.Node]) -> list[ir.Node] | None:
    """Order ``lookups`` as the fused operator takes them, or return None if it cannot.

    Only the positions may be shared by all sequences. The table with most rows is that of the words.
    """
    graph = lookups[0].graph
    assert isinstance(graph, ir.Graph)
    sizes = batch_and_tokens(graph)
    ids = {value: np.ones(small_shape(value), value.dtype.numpy()) for value in graph.inputs if value.dtype}
    indices = [lookup.inputs[1] for lookup in lookups if lookup.inputs[1] is not None]
    try:
        shapes = [
            ids[index].shape if index in ids else compute([index], ids, shape_beyond=(*sizes, 1))[0].shape
            for index in indices
        ]
    except UncomputableError:
        return None
    by_rows = sorted(zip(lookups, shapes, strict=True), key=lambda pair: _rows(pair[0]), reverse=True)
    own = [lookup for lookup, shape in by_rows if shape == sizes]
    shared = [lookup for lookup, shape in by_rows if shape == (1, sizes[1]) and lookup not in own]
    if not own or len(shared) > 1 or len(shared) + len(own) < len(lookups):
        return None
    return [own[0], *shared, *own[1:]]


def _rows(lookup: ir.Node) -> int:
    table = resolve_constant(lookup.inputs[0])
    return table.shape[0] if isinstance(table, ConstantMatrix) else 0


def _normalized_sum(node: ir.Node) -> ir.Node | None:
    """Return the addition of two computed values that ``node`` normalizes along the last axis, and nothing else reads."""
    if op_of(node) != "LayerNormalization" or int_attribute(node, "axis", -1) != -1 or len(node.outputs) > 1:
        return None
    value = node.inputs[0]
    total = None if value is None else value.producer()
    if total is None or op_of(total) != "Add" or len(total.outputs[0].uses()) > 1 or total.outputs[0].is_graph_output():
        return None
    return None if any(constant_vector(operand) is not None for operand in total.inputs) else total


def _scale_and_shift(node: ir.Node) -> tuple[ir.Value | None, ir.Value | None]:
    _, scale, shift, *_ = (*node.inputs, None)
    return scale, shift


def _epsilon(node: ir.Node) -> dict[str, Any]:
    attribute = node.attributes.get("epsilon")
    return {"epsilon": 1e-5 if attribute is None else attribute.as_float()}


def _replace(
    inserter: Inserter,
    value: ir.Value,
    op: str,
    operands: list[ir.Value | None],
    *,
    outputs: int = 1,
    **attributes: Any,
) -> None:
    before = value.producer()
    assert before is not None
    fused = inserter.node(op, operands, before=before, outputs=outputs, **attributes)
    fused.type, fused.shape = value.type, value.shape
    value.replace_all_uses_with(fused, replace_graph_outputs=True)


def _is_mixer(node: ir.Node) -> bool:
    return mixes(node)
