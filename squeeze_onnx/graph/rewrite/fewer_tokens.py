"""Tokens taken out of the residual stream: those that the attention looks at least, text by text, in plain ONNX operators.

    state ─► GatherND ─► states of kept tokens ─► later layers ─► ScatterND into all states ─► what reads all tokens
    probabilities ─► sum over heads and text ─► TopK ─► places of kept tokens, for both

Of a text with n tokens max(1, ⌈rate · n⌉) go on, the first among them; the longest text says how many places there are. A place
that a shorter text has too many holds one of its other tokens, which nothing looks at: its mask is that of padding. So
an answer does not depend on what a text is batched with. What later layers read beside the stream (masks, relative positions) is
picked for the tokens that are left; sizes that were computed from inputs are computed anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.constants import constant_tensor
from squeeze_onnx.graph.match.operators import int_attribute, op_of
from squeeze_onnx.graph.match.token_stream import TokenStep, TokenStream
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.kept_operands import AxisKind, KeptOperands, Positions
from squeeze_onnx.support.errors import ModelError

OLDEST_OPSET = 13
"""The first whose reductions and Unsqueeze take axes as an input."""

FIRST = 1e9
"""The score of the first token, above that of any other: at most heads · tokens."""


@dataclass(frozen=True, eq=False)
class Cut:
    """How much of the tokens of a text goes on (a scalar), and what the states of the others are multiplied with and shifted by,
    (features,), to stand for what the last layer would have made of them; None to leave them as they are."""

    rate: ir.Value
    scale: ir.Value | None = None
    shift: ir.Value | None = None


@dataclass(frozen=True)
class KeptStates:
    """Names of values: the ``positions`` (batch, kept) of the tokens that are left, and which places are ``real`` (None: all).

    states: what has these tokens only, of the values that the graph had before.
    """

    positions: str
    real: str | None
    states: frozenset[str]


def puts_back(stream: TokenStream) -> bool:
    """Whether something reads more than the first token of what the last layer returns, so that all have to be there again."""
    return stream.end.is_graph_output() or not all(_reads_first(node) for node, _ in stream.end.uses())


def prune_tokens(
    model: ir.Model,
    stream: TokenStream,
    cuts: Mapping[int, Cut],
    axes: Mapping[str, tuple[AxisKind, ...]],
    mask: str = "attention_mask",
) -> tuple[KeptStates, ...]:
    """Let fewer tokens of a text go on behind each layer in ``cuts``, none more than behind the one before.

    The graph changes in place; ``axes`` say what each axis of its values runs over. Raises ModelError, naming a node, if a later
    part of the graph reads what cannot be picked for the tokens that are left.
    """
    return _Pruner(model, stream, axes, mask).prune([step for step in stream.steps if step.layer in cuts], cuts)


@dataclass(frozen=True, eq=False)
class _Cut:
    """One step carried out: the places of the tokens before it that go on, which are real, and their state."""

    asked: Cut
    step: TokenStep
    chosen: ir.Value
    operands: KeptOperands
    real: ir.Value | None
    state: ir.Value


class _Pruner:
    def __init__(
        self, model: ir.Model, stream: TokenStream, axes: Mapping[str, tuple[AxisKind, ...]], mask: str
    ) -> None:
        self.graph, self.stream, self.axes = model.graph, stream, axes
        self.emit = Inserter(model)
        self.first = model.graph[0]
        self.mask = next((value for value in model.graph.inputs if value.name == mask), None)
        self.tokens = next(value for value in model.graph.inputs if axes[str(value.name)] == ("batch", "tokens"))

    def prune(self, steps: list[TokenStep], asked: Mapping[int, Cut]) -> tuple[KeptStates, ...]:
        for step in steps:
            self._check(step)
        depths = self._depths(steps)
        self._refuse_outputs(depths)
        texts = self._texts()
        cuts: list[_Cut] = []
        nodes = list(self.graph)
        for step in steps:
            cuts.append(self._cut(step, asked[step.layer], texts, cuts[-1] if cuts else None))
        for node in nodes:
            depth = depths.get(node, 0)
            if depth:
                self._feed(node, cuts[depth - 1], depths)
        if cuts:
            self._restore(cuts)
        self.graph.sort()
        return tuple(
            KeptStates(
                str(cut.operands.positions.text.name),
                None if cut.real is None else str(cut.real.name),
                frozenset(str(out.name) for node in nodes if depths.get(node) == place for out in node.outputs),
            )
            for place, cut in enumerate(cuts, 1)
        )

    def _check(self, step: TokenStep) -> None:
        probabilities, state = (self.axes[str(value.name)] for value in (step.probabilities, step.state))
        node = step.probabilities.producer()
        assert node is not None
        if probabilities != ("batch", "fixed", "tokens", "tokens"):
            raise ModelError(
                f"{op_of(node)} {node.name!r} does not return probabilities (texts, heads, tokens, tokens), by which tokens are "
                "chosen"
            )
        if state != ("batch", "tokens", "fixed"):
            raise ModelError(
                f"{step.state.name!r}, the state behind {op_of(node)} {node.name!r}, is not (texts, tokens, features)"
            )

    def _depths(self, steps: list[TokenStep]) -> dict[ir.Node, int]:
        """Return behind how many of ``steps`` each node lies, but for what comes after the end of the stream."""
        states = {step.state: depth for depth, step in enumerate(steps, 1)}
        depths: dict[ir.Node, int] = {}
        for node in self.graph:
            read = [value for value in node.inputs if value is not None and value is not self.stream.end]
            depths[node] = max((self._depth(value, states, depths) for value in read), default=0)
        return depths

    def _depth(self, value: ir.Value, states: Mapping[ir.Value, int], depths: Mapping[ir.Node, int]) -> int:
        node = value.producer()
        return states.get(value, 0 if node is None else depths[node])

    def _refuse_outputs(self, depths: Mapping[ir.Node, int]) -> None:
        for output in self.graph.outputs:
            node = output.producer()
            if output is not self.stream.end and node is not None and depths[node]:
                raise ModelError(
                    f"the output {output.name!r} shows {op_of(node)} {node.name!r}, which would have fewer tokens: export the "
                    "model without it"
                )

    def _texts(self) -> "_Texts":
        """Return what is known of the texts before any step."""
        node = self._node
        if self.mask is None:
            size = node("Gather", node("Shape", self.tokens), self._integers(1))
            lengths = node("Cast", size, to=ir.DataType.FLOAT)
            return _Texts(None, node("Reshape", lengths, self._integers([1, 1])), None)
        counted = node("Cast", self.mask, to=ir.DataType.FLOAT)
        lengths = node("ReduceSum", counted, self._integers([1]), keepdims=1)
        padding = node("ArgMin", node("Cast", self.mask, to=ir.DataType.INT32), axis=1, keepdims=1)
        return _Texts(counted, lengths, padding)

    def _cut(self, step: TokenStep, asked: Cut, texts: "_Texts", before: _Cut | None) -> _Cut:
        node = self._node
        counts = node("Max", node("Ceil", node("Mul", texts.lengths, asked.rate)), self._number(1.0))
        counts = node("Cast", counts, to=ir.DataType.INT64)
        most = node("ReduceMax", counts, keepdims=0)
        size = node("Reshape", most, self._integers([1]))
        real = texts.counted if before is None else before.real and node("Cast", before.real, to=ir.DataType.FLOAT)
        top = node("TopK", self._scores(step, real), size, outputs=2, axis=1)
        top_node = top.producer()
        assert top_node is not None
        chosen = top_node.outputs[1]
        positions = chosen if before is None else node("GatherElements", before.operands.positions.text, chosen, axis=1)
        kept = None
        shown = positions
        if texts.padding is not None:
            places = node("Range", self._integers(0), most, self._integers(1))
            kept = node("Less", places, counts)
            shown = node("Where", kept, positions, texts.padding)
        state = node("GatherND", step.state, node("Unsqueeze", chosen, self._integers([-1])), batch_dims=1)
        operands = KeptOperands(self.emit, self.first, self.axes, Positions(positions, shown, size))
        return _Cut(asked, step, chosen, operands, kept, state)

    def _scores(self, step: TokenStep, real: ir.Value | None) -> ir.Value:
        """Return how much each token is looked at by all heads and by all tokens that are text, (batch, tokens)."""
        node = self._node
        by_heads = node("ReduceSum", step.probabilities, self._integers([1]), keepdims=0)
        by_heads = node("Cast", by_heads, to=ir.DataType.FLOAT)
        if real is None:
            scores = node("ReduceSum", by_heads, self._integers([1]), keepdims=0)
        else:
            looked_at = node("MatMul", node("Unsqueeze", real, self._integers([1])), by_heads)
            scores = node("Squeeze", looked_at, self._integers([1]))
            scores = node("Where", node("Cast", real, to=ir.DataType.BOOL), scores, self._number(-1.0))
        size = node("Squeeze", node("Gather", node("Shape", scores), self._integers([1])), self._integers([0]))
        places = node("Range", self._integers(0), size, self._integers(1))
        return node("Where", node("Equal", places, self._integers(0)), self._number(FIRST), scores)

    def _feed(self, node: ir.Node, cut: _Cut, depths: Mapping[ir.Node, int]) -> None:
        """Let ``node`` read the tokens that ``cut`` leaves."""
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            if value is cut.step.state:
                node.replace_input_with(index, cut.state)
                continue
            producer = value.producer()
            depth = 0 if producer is None else depths.get(producer, 0)
            if depth == 0:
                node.replace_input_with(index, cut.operands.of(value, node))
            elif depth < depths[node]:
                raise ModelError(
                    f"{op_of(node)} {node.name!r} reads {value.name!r}, which has more tokens than what it meets there: its "
                    "tokens cannot be taken out"
                )

    def _restore(self, cuts: list[_Cut]) -> None:
        """Give what reads all tokens the states that they had last, those of the others too."""
        end = self.stream.end
        if not puts_back(self.stream):
            return
        readers = [(node, index) for node, index in end.uses() if not _reads_first(node)]
        value = end
        for cut in reversed(cuts):
            value = self._put_back(cut, value)
        for node, index in readers:
            node.replace_input_with(index, value)
        if end.is_graph_output():
            value.name, end.name = end.name, value.name
            value.type, value.shape = end.type, end.shape
            self.graph.outputs[list(self.graph.outputs).index(end)] = value
        end.shape = None

    def _put_back(self, cut: _Cut, kept: ir.Value) -> ir.Value:
        node = self._node
        if cut.real is not None:
            kept = node("Where", node("Unsqueeze", cut.real, self._integers([-1])), kept, self._final(cut, cut.state))
        sizes = node("Shape", cut.chosen)
        batch = node("Squeeze", node("Gather", sizes, self._integers([0])), self._integers([0]))
        texts = node("Unsqueeze", node("Range", self._integers(0), batch, self._integers(1)), self._integers([1]))
        both = [node("Unsqueeze", each, self._integers([-1])) for each in (node("Expand", texts, sizes), cut.chosen)]
        return node("ScatterND", self._final(cut, cut.step.state), node("Concat", *both, axis=-1), kept)

    def _final(self, cut: _Cut, state: ir.Value) -> ir.Value:
        """Return what stands for the states of the last layer."""
        scaled = state if cut.asked.scale is None else self._node("Mul", state, cut.asked.scale)
        return scaled if cut.asked.shift is None else self._node("Add", scaled, cut.asked.shift)

    def _node(self, op: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        return self.emit.node(op, list(inputs), before=self.first, **attributes)  # type: ignore[arg-type]

    def _integers(self, entries: int | list[int]) -> ir.Value:
        return self.emit.constant(np.asarray(entries, np.int64))

    def _number(self, number: float) -> ir.Value:
        return self.emit.constant(np.asarray(number, np.float32))


@dataclass(frozen=True, eq=False)
class _Texts:
    """Of each text which tokens ``counted`` (None: all), its length, and a place of padding if it has one (None: it has not)."""

    counted: ir.Value | None
    lengths: ir.Value
    padding: ir.Value | None


def _reads_first(node: ir.Node) -> bool:
    """Whether ``node`` picks the first token of each text and nothing else."""
    if op_of(node) == "Gather" and int_attribute(node, "axis") == 1:
        places = constant_tensor(node.inputs[1])
        return places is not None and not places.numpy().any()
    if op_of(node) == "Slice":
        starts, ends, axes = (constant_tensor(value) for value in (*node.inputs[1:], None, None)[:3])
        found = [None if each is None else each.numpy().tolist() for each in (starts, ends, axes)]
        return found == [[0], [1], [1]]
    return False
