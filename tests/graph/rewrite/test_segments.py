"""A cut graph, run part by part, against the whole."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.rewrite.segments import Segment, ancestors, cut, extract, initializers_of
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model

X = random_weight(2, 3, 4, seed=7)


def run_in_parts(
    model: ir.Model, parts: tuple[Segment, ...], feeds: dict[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Return what exists after each part."""
    values, seen = dict(feeds), []
    for part in parts:
        types = {name: ir.DataType.from_numpy(values[name].dtype) for name in part.inputs}
        made = run(extract(model, part, types), {name: values[name] for name in part.inputs}) if part.outputs else []
        values |= dict(zip(part.outputs, made, strict=True))
        seen.append(values)
        values = {name: values[name] for name in part.kept}
    return seen


@pytest.fixture
def residual_model() -> ir.Model:
    return tiny_model(
        """g (float[B,T,4] x) => (float[B,T,4] z) {
            scale = Mul(half, half)
            a = Relu(x)
            b = MatMul(a, W)
            c = Mul(b, scale)
            d = Add(c, x)
            e = MatMul(d, V)
            f = Mul(e, scale)
            z = Add(f, a)
        }""",
        W=random_weight(4, 4, seed=1),
        V=random_weight(4, 4, seed=2),
        half=np.array(0.5, np.float32),
    )


class TestParts:
    def test_together_compute_what_the_whole_computes(self, residual_model: ir.Model) -> None:
        parts = cut(residual_model.graph, [["a"], ["d"], ["z"]])
        seen = run_in_parts(residual_model, parts, {"x": X})
        np.testing.assert_allclose(seen[-1]["z"], run(residual_model, {"x": X})[0], rtol=1e-6)
        assert {"a", "x"} <= seen[0].keys()

    def test_compute_a_value_once_and_keep_it_as_long_as_it_is_read(self, residual_model: ir.Model) -> None:
        first, second, third = cut(residual_model.graph, [["a"], ["d"], ["z"]])
        assert first == Segment(inputs=("x",), outputs=("a",), kept=("a", "x"))
        assert second == Segment(inputs=("a", "x"), outputs=("d",), kept=("a", "d"))
        assert third == Segment(inputs=("a", "d"), outputs=("z",), kept=())

    def test_know_their_initializers_and_those_behind_constants(self, residual_model: ir.Model) -> None:
        parts = cut(residual_model.graph, [["a"], ["d"], ["z"]])
        read = [initializers_of(residual_model.graph, part) for part in parts]
        assert read == [frozenset(), {"W", "half"}, {"V", "half"}]

    def test_hold_for_themselves_what_is_computed_from_constants(self, residual_model: ir.Model) -> None:
        second, third = cut(residual_model.graph, [["d"], ["z"]])
        for part in (second, third):
            types = dict.fromkeys(part.inputs, ir.DataType.FLOAT)
            assert "scale" not in part.inputs
            assert operators(extract(residual_model, part, types)).count("Mul") == 2

    def test_have_nothing_to_compute_for_what_is_known(self, residual_model: ir.Model) -> None:
        first, second, third = cut(residual_model.graph, [["x"], ["d"], ["d", "a"]])
        assert first == Segment(inputs=(), outputs=(), kept=("x",))
        assert second.kept == ("a", "d")
        assert third == Segment(inputs=(), outputs=(), kept=())

    def test_share_the_weights_and_leave_the_model_as_it_is(self, residual_model: ir.Model) -> None:
        before = operators(residual_model)
        (part,) = cut(residual_model.graph, [["z"]])
        extracted = extract(residual_model, part, {"x": ir.DataType.FLOAT})
        assert operators(residual_model) == before
        weights = [model.graph.initializers["W"].const_value for model in (extracted, residual_model)]
        assert weights[0] is weights[1]

    def test_see_what_a_branch_reads_from_around_it(self) -> None:
        model = tiny_model(
            """g (float[B,T,4] x, bool c) => (float[B,T,4] z) {
                a = Relu(x)
                b = Neg(x)
                y = If(c) <then_branch = t () => (float[B,T,4] p) { p = Identity(a) },
                           else_branch = e () => (float[B,T,4] q) { q = Identity(b) }>
                z = Add(y, a)
            }"""
        )
        parts = cut(model.graph, [["a"], ["y"], ["z"]])
        assert parts[1].inputs == ("a", "c", "x")
        for flag in (True, False):
            feeds = {"x": X, "c": np.array(flag)}
            np.testing.assert_allclose(run_in_parts(model, parts, feeds)[-1]["z"], run(model, feeds)[0])


def test_ancestors_are_all_that_a_value_depends_on(residual_model: ir.Model) -> None:
    values = ir.convenience.create_value_mapping(residual_model.graph)
    assert {node.outputs[0].name for node in ancestors(values["d"])} == {"a", "b", "c", "d", "scale"}
    assert ancestors(values["x"]) == set()
