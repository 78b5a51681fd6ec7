from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.dataflow import downstream, joins, upstream
from tests.graph.tiny_graphs import node_named, tiny_model

GRAPH = """g (float[B,4] x, float[B,4] z) => (float[B,4] y, float[B,4] u) {
    [a] a = Relu(x)
    [b] b = Neg(a)
    [shape] shape = Shape(z)
    [reshape] c = Reshape(b, shape)
    [square] d = Mul(c, c)
    [y] y = Add(d, a)
    [u] u = Expand(z, shape)
}"""


def never(node: ir.Node) -> bool:
    return False


def names_of(nodes: Iterator[ir.Node]) -> list[str | None]:
    return [node.name for node in nodes]


class TestUpstream:
    def test_it_yields_the_nearest_nodes_first_and_each_once(self) -> None:
        y = node_named(tiny_model(GRAPH), "y").outputs[0]
        assert names_of(upstream(y, never)) == ["y", "square", "a", "reshape", "b"]

    def test_it_does_not_pass_a_node_to_stop_at(self) -> None:
        y = node_named(tiny_model(GRAPH), "y").outputs[0]
        assert names_of(upstream(y, lambda node: node.name == "reshape")) == ["y", "square", "a", "reshape"]

    def test_shapes_are_no_data(self) -> None:
        u = node_named(tiny_model(GRAPH), "u").outputs[0]
        assert names_of(upstream(u, never)) == ["u"]

    def test_a_graph_input_has_nothing_upstream(self) -> None:
        assert not names_of(upstream(tiny_model(GRAPH).graph.inputs[0], never))


class TestDownstream:
    def test_it_yields_the_nearest_nodes_first_and_each_once(self) -> None:
        x = tiny_model(GRAPH).graph.inputs[0]
        assert names_of(downstream(x, never)) == ["a", "b", "y", "reshape", "square"]

    def test_it_does_not_pass_a_node_to_stop_at(self) -> None:
        x = tiny_model(GRAPH).graph.inputs[0]
        assert names_of(downstream(x, lambda node: node.name == "reshape")) == ["a", "b", "y", "reshape"]

    def test_shapes_are_no_data(self) -> None:
        z = tiny_model(GRAPH).graph.inputs[1]
        assert names_of(downstream(z, never)) == ["u"]


class TestJoins:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            pytest.param("a = MatMul(x, W)\n b = MatMul(a, W)\n [n] y = Add(b, a)", {"n"}, id="a stream and a branch"),
            pytest.param("a = MatMul(x, W)\n [n] y = Add(a, c)", set(), id="a bias"),
            pytest.param("a = MatMul(x, W)\n [n] y = Add(a, x)", set(), id="an input of the model"),
            pytest.param("a = MatMul(x, W)\n b = Mul(a, a)\n [n] y = Add(a, b)", set(), id="two paths from one weight"),
            pytest.param(
                "q = MatMul(x, W)\n r = MatMul(x, W)\n a = Mul(q, r)\n b = Neg(q)\n [n] y = Add(a, b)",
                set(),
                id="paths that share one of their origins",
            ),
            pytest.param("a = MatMul(x, W)\n b = MatMul(a, W)\n [n] y = Mul(b, a)", set(), id="a gate"),
            pytest.param(
                "a = MatMul(x, W)\n b = MatMul(x, W)\n d = MatMul(x, W)\n [n] y = Sum(a, b, d)",
                {"n"},
                id="three branches",
            ),
            pytest.param(
                "a = MatMul(x, W)\n b = MatMul(a, W)\n [n] d = Add(b, a)\n e = MatMul(d, W)\n [m] y = Add(e, d)",
                {"n", "m"},
                id="a stream that goes on from its last join",
            ),
        ],
    )
    def test_an_addition_joins_branches_that_share_no_origin(self, body: str, expected: set[str]) -> None:
        model = tiny_model(
            f"g (float[B,4] x) => (float[B,4] y) {{ {body} }}", W=np.eye(4, dtype=np.float32), c=np.ones(4, np.float32)
        )
        assert {node.name for node in joins(model.graph, lambda node: node.op_type == "MatMul")} == expected
