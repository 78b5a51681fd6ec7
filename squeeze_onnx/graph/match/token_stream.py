"""Where the residual stream of an encoder may lose tokens: behind the attention of each layer, before its feed-forward part.

    x ─► attention ─┐
    └──────────────► Add ─► LayerNormalization ─► state ─► feed-forward ─┐                  norm behind the addition
                                                  └────────────────────► Add ─► …

Where norms stand in front of the branches the state is what the first addition returns. What reads the state, and what the second
addition adds to it, is found by following the data.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.graph.match.attention import AttentionCore, attention_cores
from squeeze_onnx.graph.match.constants import is_constant
from squeeze_onnx.graph.match.dataflow import data_inputs, downstream, joins, upstream
from squeeze_onnx.graph.match.operators import SOFTMAXES, WEIGHT_OPERATORS, mixes, op_of
from squeeze_onnx.support.errors import ModelError


@dataclass(frozen=True, eq=False)
class TokenStep:
    """A place where tokens may go: the ``state`` behind the attention of ``layer``, whose softmax returns ``probabilities``.

    before_norm: what the addition returns that the state is made of; the state itself if no norm stands in between.
    """

    layer: int
    probabilities: ir.Value
    before_norm: ir.Value
    state: ir.Value


@dataclass(frozen=True, eq=False)
class TokenStream:
    """All places of an encoder, in graph order, and the ``end``: what its last layer returns of every token."""

    steps: tuple[TokenStep, ...]
    end: ir.Value


def find_token_stream(graph: ir.Graph) -> TokenStream:
    """Return where the tokens of ``graph`` may become fewer; raises ModelError, naming a node, if it has no such place."""
    cores = attention_cores(graph, mixes)
    fused = next((core.node for core in cores if core.scores is None), None)
    if fused is not None:
        raise ModelError(
            f"{op_of(fused)} {fused.name!r} keeps to itself which tokens it looks at: give the model unfused"
        )
    if not cores:
        raise ModelError("the graph has no attention, which says which tokens count")
    additions = {node: place for place, node in enumerate(graph) if node in joins(graph, _is_source)}
    additions = {node: place for node, place in additions.items() if not _are_scores(node.outputs[0])}
    found = [(core, *ends) for layer, core in enumerate(cores) if (ends := _state_behind(core, layer, additions))]
    if not found:
        node = cores[0].node
        raise ModelError(
            f"what {op_of(node)} {node.name!r} returns is not added to a stream that a later part goes on with"
        )
    _, last, following = found[-1]
    return TokenStream(tuple(step for _, step, _ in found), _end(graph, last, following))


def _is_source(node: ir.Node) -> bool:
    """Whether a branch begins at ``node``: a product, or a lookup in a table."""
    operator = WEIGHT_OPERATORS.get(op_of(node))
    return mixes(node) or (operator is not None and operator.lookup and is_constant(node.inputs[operator.weight]))


def _are_scores(value: ir.Value) -> bool:
    return any(op_of(node) in SOFTMAXES for node in downstream(value, mixes))


def _state_behind(
    core: AttentionCore, layer: int, additions: Mapping[ir.Node, int]
) -> tuple[TokenStep, ir.Node] | None:
    """Return the step behind ``core`` and the next addition to its state; None if it has none."""
    flows = downstream(core.node.outputs[0], additions.__contains__)
    addition = next((node for node in flows if node in additions), None)
    if addition is None:
        return None
    softmax = next(node for node in upstream(_other_operand(core), mixes) if op_of(node) in SOFTMAXES)
    for following in sorted(additions, key=additions.__getitem__):
        if additions[following] <= additions[addition]:
            continue
        for operand in data_inputs(following):
            if _origins(operand, additions) == {addition}:
                step = TokenStep(layer, softmax.outputs[0], addition.outputs[0], operand)
                return step, following
    return None


def _other_operand(core: AttentionCore) -> ir.Value:
    """Return what meets the value in the second product: the probabilities."""
    [operand] = [each for each in core.node.inputs if each is not None and each is not core.operands[-1]]
    return operand


def _origins(value: ir.Value, additions: Mapping[ir.Node, int]) -> set[ir.Node]:
    def ends(node: ir.Node) -> bool:
        return node in additions or _is_source(node)

    return {node for node in upstream(value, ends) if ends(node)}


def _end(graph: ir.Graph, last: TokenStep, addition: ir.Node) -> ir.Value:
    """Return what becomes of the last ``addition`` through the nodes that made the state of what the one before returned."""
    start = last.before_norm.producer()
    assert start is not None, "an addition returns it"
    norm = set(_between(start, last.state))
    wanted = [op_of(node) for node in graph if node in norm]
    if not wanted:
        return addition.outputs[0]
    behind = set(downstream(addition.outputs[0], mixes))
    for node in graph:
        if node in behind:
            way = set(_between(addition, node.outputs[0]))
            if [op_of(each) for each in graph if each in way] == wanted:
                return node.outputs[0]
    raise ModelError(f"behind {op_of(addition)} {addition.name!r} there is no norm like those of the layers before")


def _between(start: ir.Node, value: ir.Value) -> Iterator[ir.Node]:
    """Yield the nodes that ``value`` is made by of what ``start`` returns."""
    behind = set(downstream(start.outputs[0], mixes))
    return (node for node in upstream(value, lambda node: node is start) if node in behind)
