from squeeze_onnx.graph.match.operators import (
    ATTENTION_CORES,
    CLOSED_OPERATORS,
    MIXERS,
    PACKED_ATTENTION,
    PRODUCTS,
    WEIGHT_OPERATORS,
    data_operands,
    int_attribute,
    op_of,
)
from tests.graph.tiny_graphs import node_named, tiny_model

MODEL = tiny_model("""g (float[B,4] x, int64[2] s, bool[B,4] c) => (float[N] y) {
    [mul] m = Mul(x, x)
    [reshape] r = Reshape(x, s)
    [where] w = Where(c, m, r)
    [shape] h = Shape(x)
    [fused] f = com.microsoft.FusedMatMul <transB = 1> (w, x)
    [plain] y = ai.onnx.MatMul(f, x)
}""")


def test_operators_of_other_domains_are_told_apart() -> None:
    assert op_of(node_named(MODEL, "fused")) == "com.microsoft.FusedMatMul"
    assert op_of(node_named(MODEL, "plain")) == "MatMul"


def test_data_operands_are_what_ends_up_in_the_output() -> None:
    names = ("mul", "reshape", "where", "shape")
    assert [data_operands(node_named(MODEL, name)) for name in names] == [(0, 1), (0,), (1, 2), ()]


def test_an_attribute_that_is_left_out_has_its_default() -> None:
    fused = node_named(MODEL, "fused")
    assert (int_attribute(fused, "transB"), int_attribute(fused, "transA"), int_attribute(fused, "axis", -1)) == (
        1,
        0,
        -1,
    )


def test_an_operator_is_either_rewritten_or_closed() -> None:
    assert WEIGHT_OPERATORS.keys().isdisjoint(CLOSED_OPERATORS)


def test_every_walk_ends_where_features_mix() -> None:
    assert PRODUCTS.keys() | CLOSED_OPERATORS.keys() | ATTENTION_CORES | {PACKED_ATTENTION} <= MIXERS
