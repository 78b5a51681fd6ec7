import pytest

from squeeze_onnx.graph.match.names import free_name, names_in
from tests.graph.tiny_graphs import random_weight, tiny_model


def test_names_of_inner_graphs_are_taken_too() -> None:
    graph = """g (float[B,4] x, bool c) => (float[B,4] y) {
        [choice] y = If (c) <
            then_branch = t () => (float[B,4] a) { [inner] a = Add(x, W) },
            else_branch = e () => (float[B,4] b) { b = Identity(x) }
        >
    }"""
    names = names_in(tiny_model(graph, W=random_weight(4)))
    assert names == {"x", "c", "W", "y", "choice", "inner", "a", "b"}


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        pytest.param(set(), "n", id="it is free"),
        pytest.param({"n"}, "n_1", id="it is taken"),
        pytest.param({"n", "n_1", "n_2"}, "n_3", id="so are the next ones"),
    ],
)
def test_a_free_name_is_the_one_wanted_or_the_next(taken: set[str], expected: str) -> None:
    assert free_name("n", taken) == expected
