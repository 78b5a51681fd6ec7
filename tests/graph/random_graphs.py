"""Random graphs: products with weights of all spellings, tied ones, and subgraphs, between activations and sums.

A `GraphPlan` says what is computed, by numbers alone; `GraphPlan.build` writes it down as ONNX. What must not matter to a result,
the names and the order of the nodes, and inputs and initializers that nobody reads, is chosen there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray

BOUNDED = settings(derandomize=True, deadline=None, max_examples=25)
"""The same examples on every machine, and few enough for every run of the tests."""

WIDTHS = (4, 6, 9)
KINDS = ("matmul", "transposed", "identity", "constant", "gemm", "gemm_transposed", "if", "loop", "tanh", "add")


@dataclass(frozen=True)
class Step:
    """One operation: its ``kind``, the value it reads, a second one or a tied weight to prefer, and the width it returns."""

    kind: str
    source: int
    other: int
    width: int


@dataclass(frozen=True)
class Spelling:
    """What of a graph must not matter: ``prefix`` of all names, order of the nodes, what nobody reads."""

    prefix: str = ""
    order_seed: int | None = None
    unused: bool = False


PLAIN = Spelling()


@dataclass(frozen=True)
class GraphPlan:
    """What a graph computes."""

    width: int
    steps: tuple[Step, ...]
    seed: int

    def build(self, spelling: Spelling = PLAIN) -> onnx.ModelProto:
        """Return the graph, with inputs ``x`` (B, width) and ``flag``; its outputs are the last two values."""
        return _Writer(self, spelling).model()

    def feeds(self) -> dict[str, Array]:
        """Return inputs for it."""
        rows = np.random.default_rng(self.seed).standard_normal((5, self.width)).astype(np.float32)
        return {"x": rows, "flag": np.array(self.seed % 2 == 0)}


@st.composite
def graph_plans(draw: st.DrawFn) -> GraphPlan:
    """Draw graphs of 2 to 6 operations, the first of which has a weight."""
    numbers = st.integers(0, 20)
    step = st.builds(Step, st.sampled_from(KINDS), numbers, numbers, st.sampled_from(WIDTHS))
    first = draw(st.builds(Step, st.sampled_from(KINDS[:6]), st.just(0), numbers, st.sampled_from(WIDTHS)))
    rest = draw(st.lists(step, min_size=1, max_size=5))
    return GraphPlan(draw(st.sampled_from(WIDTHS)), (first, *rest), draw(st.integers(0, 1000)))


class _Writer:
    def __init__(self, plan: GraphPlan, spelling: Spelling) -> None:
        self._plan, self._spelling = plan, spelling
        self._random = np.random.default_rng(plan.seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, Array] = {}
        self._values = [("x", plan.width)]
        self._names = 0

    def model(self) -> onnx.ModelProto:
        for step in self._plan.steps:
            source, width = self._values[step.source % len(self._values)]
            self._values.append(self._write(step, source, width))
        nodes, outputs = list(self._nodes), self._values[-2:]
        inputs = [_declare("x", self._plan.width), helper.make_tensor_value_info("flag", TensorProto.BOOL, [])]
        if self._spelling.order_seed is not None:
            np.random.default_rng(self._spelling.order_seed).shuffle(nodes)
        if self._spelling.unused:
            inputs.append(_declare("nobody", 7))
            self._weights["unread"] = np.ones((6, 6), np.float32)
        names = [name for name, _ in outputs]
        ends = [helper.make_node("Identity", [name], [f"y{index}"]) for index, name in enumerate(names)]
        graph = helper.make_graph(
            [*nodes, *ends],
            "random",
            inputs,
            [_declare(f"y{index}", width) for index, (_, width) in enumerate(outputs)],
            [numpy_helper.from_array(array, name) for name, array in self._weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _write(self, step: Step, source: str, width: int) -> tuple[str, int]:
        if step.kind == "tanh":
            return self._node("Tanh", source), width
        if step.kind == "add":
            alike = [name for name, other in self._values if other == width]
            return self._node("Add", source, alike[step.other % len(alike)]), width
        if step.kind == "loop":
            return self._loop(source, width), width
        if step.kind == "if":
            return self._if(source, width, step.width), step.width
        product: Callable[[Step, str, int], str] = getattr(self, f"_{step.kind}")
        return product(step, source, width), step.width

    def _matmul(self, step: Step, source: str, width: int) -> str:
        """Multiply, every other time with a weight that is there already."""
        tied = [name for name, array in self._weights.items() if array.shape == (width, step.width)]
        name = tied[step.other % len(tied)] if tied and step.other % 2 else self._weight(width, step.width)
        return self._node("MatMul", source, name)

    def _transposed(self, step: Step, source: str, width: int) -> str:
        return self._node("MatMul", source, self._node("Transpose", self._weight(step.width, width), perm=[1, 0]))

    def _identity(self, step: Step, source: str, width: int) -> str:
        return self._node("MatMul", source, self._node("Identity", self._weight(width, step.width)))

    def _constant(self, step: Step, source: str, width: int) -> str:
        weight = numpy_helper.from_array(self._entries(width, step.width), "")
        return self._node("MatMul", source, self._node("Constant", value=weight))

    def _gemm(self, step: Step, source: str, width: int) -> str:
        bias = self._weight(1, step.width)
        return self._node("Gemm", source, self._weight(width, step.width), bias, alpha=0.5, beta=2.0)

    def _gemm_transposed(self, step: Step, source: str, width: int) -> str:
        return self._node("Gemm", source, self._weight(step.width, width), transB=1)

    def _if(self, source: str, width: int, out: int) -> str:
        """Multiply by a weight of the branch's own, or by one of the graph around it."""
        outer, own = self._weight(width, out), self._entries(width, out)
        mine, theirs, inner = self._name("then"), self._name("else"), self._name("inner")
        branches = {
            "then_branch": helper.make_graph(
                [helper.make_node("MatMul", [source, inner], [mine])],
                "then",
                [],
                [_declare(mine, out)],
                [numpy_helper.from_array(own, inner)],
            ),
            "else_branch": helper.make_graph(
                [helper.make_node("MatMul", [source, outer], [theirs])], "else", [], [_declare(theirs, out)]
            ),
        }
        return self._node("If", "flag", **branches)

    def _loop(self, source: str, width: int) -> str:
        """Twice: state ← tanh(state @ weight), the weight from outside."""
        weight, count, going = self._weight(width, width), self._name("count"), self._name("going")
        inner = {key: self._name(key) for key in ("turn", "on", "state", "still", "product", "next")}
        body = helper.make_graph(
            [
                helper.make_node("Identity", [inner["on"]], [inner["still"]]),
                helper.make_node("MatMul", [inner["state"], weight], [inner["product"]]),
                helper.make_node("Tanh", [inner["product"]], [inner["next"]]),
            ],
            "body",
            [
                helper.make_tensor_value_info(inner["turn"], TensorProto.INT64, []),
                helper.make_tensor_value_info(inner["on"], TensorProto.BOOL, []),
                _declare(inner["state"], width),
            ],
            [helper.make_tensor_value_info(inner["still"], TensorProto.BOOL, []), _declare(inner["next"], width)],
        )
        self._weights |= {count: np.array(2), going: np.array(True)}
        return self._node("Loop", count, going, source, body=body)

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = self._name("v")
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=self._name(operator), **attributes))
        return output

    def _weight(self, rows: int, columns: int) -> str:
        name = self._name("w")
        self._weights[name] = self._entries(rows, columns)
        return name

    def _entries(self, rows: int, columns: int) -> Array:
        entries: Array = self._random.standard_normal((rows, columns)) / np.sqrt(rows)
        return entries.astype(np.float32)

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{self._spelling.prefix}{kind}{self._names}"


def _declare(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", width])
