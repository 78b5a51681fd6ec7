import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.behaviour import UncomputableError, compute
from tests.graph.tiny_graphs import tiny_model

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def values(model: ir.Model) -> dict[str, ir.Value]:
    computed = {str(value.name): value for node in model.graph for value in node.outputs}
    return {str(value.name): value for value in model.graph.inputs} | computed


def test_a_part_runs_from_what_is_given_with_the_constants_it_reads() -> None:
    model = tiny_model(
        "g (float[B,3] x) => (float[B,3] y) { a = Relu(x)  two = Constant<value_float = 2.0>()  b = Mul(a, two)  y = Add(b, c) }",
        c=np.ones(3, np.float32),
    )
    found = values(model)
    [y, b] = compute([found["y"], found["b"]], {found["a"]: X})
    np.testing.assert_array_equal(b, 2 * X)
    np.testing.assert_array_equal(y, 2 * X + 1)


def test_a_shape_beyond_what_is_given_is_the_one_told() -> None:
    model = tiny_model(
        "g (float[B,3] x, float[A] z) => (float[M,N] y)"
        "{ a = Relu(x)  s = Shape(a)  b = Neg(a)  t = Shape(b)  f = Shape(z)  g = Concat<axis = 0>(t, s)  y = Reshape(b, s) }"
    )
    found = values(model)
    [y, both] = compute([found["y"], found["g"]], {found["b"]: X}, shape_beyond=(3, 2))
    np.testing.assert_array_equal(y, X.reshape(3, 2))
    np.testing.assert_array_equal(both, [2, 3, 3, 2])


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param("g (float[2,3] x, float[2,3] z) => (float[2,3] y) { y = Add(x, z) }", id="an input is missing"),
        pytest.param("g (float[2,3] x) => (float[2,3] y) { y = MatMul(x, x) }", id="shapes do not fit"),
        pytest.param("g (float[2,3] x) => (float[2,3] y) { y = com.microsoft.Gelu(x) }", id="an operator is unknown"),
        pytest.param(
            "g (float[2,3] x) => (float[2,3] y) { z = Relu(x)  y = Identity(z) }", id="only a value after it is given"
        ),
    ],
)
def test_what_cannot_be_computed_says_so(graph: str) -> None:
    found = values(tiny_model(graph))
    given = {found["y"]: X} if "Identity" in graph else {found["x"]: X}
    wanted = found["z"] if "Identity" in graph else found["y"]
    with pytest.raises(UncomputableError):
        compute([wanted], given)


def test_a_constant_is_not_computed() -> None:
    model = tiny_model("g (float[2,3] x) => (float[2,3] y) { y = Add(x, c) }", c=X)
    with pytest.raises(UncomputableError, match="c is computed by no node"):
        compute([model.graph.initializers["c"]], {})
