"""What each weight does in its model, read off the structure of the graph.

Names tell nothing reliable: exporters call a weight ``onnx::MatMul_1412``. The structure does:

1. A lookup is an embedding.
2. The weights next upstream of an attention core's operands are query, key and value; one that feeds several of them is
   query_key_value. The weight next downstream of the core is the attention output. The layer is the index of the core.
3. A weight is ffn_out if other weights, ffn_in, reach it through a nonlinearity and its output is added to the residual
   stream that those read. The layer is that of the last core before this addition.
4. What is left: between the choice of a token and a nonlinearity it is the pooler; if only the output of the model
   follows, a classifier; otherwise other.
5. In a product that was factored before, the left factor has the role of the right one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

from squeeze_onnx.graph.match.attention import attention_cores
from squeeze_onnx.graph.match.constants import constant_axes, is_constant
from squeeze_onnx.graph.match.dataflow import data_inputs, downstream, joins, upstream
from squeeze_onnx.graph.match.operators import (
    ADDITIONS,
    AXES_OPERANDS,
    BARE_PRODUCTS,
    NONLINEARITIES,
    WEIGHT_OPERATORS,
    int_attribute,
    mixes,
    op_of,
    rows_of,
)


class Role(StrEnum):
    """What a weight does in its model."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    QUERY_KEY_VALUE = "query_key_value"
    ATTENTION_OUTPUT = "attention_output"
    FFN_IN = "ffn_in"
    FFN_OUT = "ffn_out"
    POOLER = "pooler"
    CLASSIFIER = "classifier"
    EMBEDDING = "embedding"
    OTHER = "other"


@dataclass(frozen=True)
class Placement:
    """The role of a weight, and the index of its layer if it belongs to one."""

    role: Role
    layer: int | None = None


def place_weights(graph: ir.Graph, weights: Sequence[Sequence[ir.Node]]) -> list[Placement]:
    """Return the placement of each weight of ``graph``, given the nodes that use it; both in graph order.

    A weight that several layers share is placed where it is used first.
    """
    return _Placer(graph, weights).place()


class _Placer:
    """The rules above, in order; a weight keeps the first placement it gets."""

    def __init__(self, graph: ir.Graph, weights: Sequence[Sequence[ir.Node]]) -> None:
        self.graph = graph
        self.first_nodes = [nodes[0] for nodes in weights]
        self.weight_of = {node: weight for weight, nodes in enumerate(weights) for node in nodes}
        self.right_factor_of = dict(self._factored_before(weights))
        self.cores = attention_cores(graph, self.is_mixer)
        self.joins = joins(graph, self.is_mixer)
        self.placed: dict[int, Placement] = {}

    def place(self) -> list[Placement]:
        self._place_embeddings()
        self._place_attention()
        self._place_feed_forward()
        self._place_heads()
        for left in sorted(self.right_factor_of, reverse=True):
            self.placed[left] = self.placed[self.right_factor_of[left]]
        return [self.placed[weight] for weight in range(len(self.first_nodes))]

    def is_mixer(self, node: ir.Node) -> bool:
        """Whether ``node`` mixes features, so that what lies beyond it belongs to another weight."""
        weight = self.weight_of.get(node)
        return mixes(node) if weight is None else weight not in self.right_factor_of

    def ends_branch(self, node: ir.Node) -> bool:
        """Whether ``node`` is a mixer, or an addition to the residual stream."""
        return node in self.joins or self.is_mixer(node)

    def _place_embeddings(self) -> None:
        for weight, node in enumerate(self.first_nodes):
            if WEIGHT_OPERATORS[op_of(node)].lookup:
                self._assign([self.right_factor_of.get(weight, weight)], Role.EMBEDDING)

    def _place_attention(self) -> None:
        for layer, core in enumerate(self.cores):
            if core.node in self.weight_of:
                self._assign([self.weight_of[core.node]], Role.QUERY_KEY_VALUE, layer)
            sources = [self._open_weights(upstream(value, self.ends_branch)) for value in core.operands]
            for role, weights in zip((Role.QUERY, Role.KEY, Role.VALUE), sources, strict=False):
                for weight in weights:
                    shared = sum(weight in others for others in sources) > 1
                    self._assign([weight], Role.QUERY_KEY_VALUE if shared else role, layer)
            after = self._open_weights(downstream(core.node.outputs[0], self.ends_branch))
            self._assign(after, Role.ATTENTION_OUTPUT, layer)

    def _place_feed_forward(self) -> None:
        layer_at = self._last_core()
        for weight, node in enumerate(self.first_nodes):
            before = list(upstream(rows_of(node), self.ends_branch))
            sources = self._open_weights(before)
            if sources and self._open_weights([node]) and _has_nonlinearity(before):
                addition = self._addition_to_stream(node, self.first_nodes[sources[0]])
                if addition is not None:
                    self._assign([weight], Role.FFN_OUT, layer_at[addition])
                    self._assign(sources, Role.FFN_IN, layer_at[addition])

    def _place_heads(self) -> None:
        for weight, node in enumerate(self.first_nodes):
            before = upstream(rows_of(node), self.ends_branch)
            after = [node, *downstream(node.outputs[0], self.is_mixer)]
            if any(map(_picks_tokens, before)) and _has_nonlinearity(after):
                self._assign([weight], Role.POOLER)
            elif _returned(after) and not any(map(self.is_mixer, after[1:])):
                self._assign([weight], Role.CLASSIFIER)
            else:
                self._assign([weight], Role.OTHER)

    def _addition_to_stream(self, ffn_out: ir.Node, ffn_in: ir.Node) -> ir.Node | None:
        """Return the nearest addition of what ``ffn_out`` computes to the stream that ``ffn_in`` reads."""
        stream = {rows_of(ffn_in)}
        for node in upstream(rows_of(ffn_in), self.ends_branch):
            stream.update(node.outputs)
            if not self.ends_branch(node):
                # Without constants: an epsilon is shared by norms all over the graph.
                stream.update(value for value in data_inputs(node) if not is_constant(value))
        after = downstream(ffn_out.outputs[0], self.is_mixer)
        return next((node for node in after if op_of(node) in ADDITIONS and stream.intersection(node.inputs)), None)

    def _last_core(self) -> dict[ir.Node, int | None]:
        """Return for each node the index of the last attention core that it depends on."""
        layer_of = {core.node: layer for layer, core in enumerate(self.cores)}
        last: dict[ir.Node, int | None] = {}
        for node in self.graph:
            producers = [value.producer() for value in node.inputs if value is not None]
            layers = [layer for producer in producers if producer and (layer := last.get(producer)) is not None]
            last[node] = layer_of.get(node, max(layers, default=None))
        return last

    def _factored_before(self, weights: Sequence[Sequence[ir.Node]]) -> Iterator[tuple[int, int]]:
        """Yield (left, right) for each weight whose products are nothing but the rows that another weight meets."""
        for left, nodes in enumerate(weights):
            outputs = [node.outputs[0] for node in nodes]
            rights = {self._weight_that_meets(use) for output in outputs for use in output.uses()}
            right = rights.pop() if len(rights) == 1 else None
            bare = all(op_of(node) in BARE_PRODUCTS for node in nodes)
            # Only a weight that is used later can be the right factor: no circles among tied weights.
            if right is not None and right > left and bare and not _returned(nodes):
                yield left, right

    def _weight_that_meets(self, use: tuple[ir.Node, int]) -> int | None:
        node, index = use
        weight = self.weight_of.get(node)
        return weight if weight is not None and WEIGHT_OPERATORS[op_of(node)].rows == index else None

    def _assign(self, weights: Iterable[int], role: Role, layer: int | None = None) -> None:
        for weight in weights:
            self.placed.setdefault(weight, Placement(role, layer))

    def _open_weights(self, nodes: Iterable[ir.Node]) -> list[int]:
        """Return the weights among ``nodes`` that have no placement yet, left factors aside."""
        weights = [self.weight_of[node] for node in nodes if node in self.weight_of and self.is_mixer(node)]
        return [weight for weight in weights if weight not in self.placed]


def _returned(nodes: Iterable[ir.Node]) -> bool:
    """Whether the model returns an output of one of ``nodes``."""
    return any(output.is_graph_output() for node in nodes for output in node.outputs)


def _has_nonlinearity(nodes: Iterable[ir.Node]) -> bool:
    return any(op_of(node) in NONLINEARITIES for node in nodes)


def _picks_tokens(node: ir.Node) -> bool:
    """Whether ``node`` picks or pools positions of a [batch, sequence, hidden] value, so works on its axis 1."""
    op = op_of(node)
    if op in {"Gather", "GatherElements"}:
        return int_attribute(node, "axis") in {1, -2}
    return op == "GatherND" or (op in AXES_OPERANDS and not {1, -2}.isdisjoint(constant_axes(node)))
