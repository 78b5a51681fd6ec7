from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter, factor_site, replace_weight
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import LEVELS, factor_fully, run, svd_factors
from tests.graph.tiny_graphs import initializer_names, node_named, operators, random_weight, tiny_model

W = random_weight(4, 6)
X = random_weight(5, 4, seed=1)
BIAS = random_weight(6, seed=2)
LEFT, RIGHT = random_weight(4, 2, seed=3), random_weight(2, 6, seed=4)
INT8 = np.random.default_rng(1).integers(-128, 128, (4, 6)).astype(np.int8)


def only_site(model: ir.Model) -> MatMulSite:
    (site,) = find_sites(model).sites
    return site


def factored(graph: str, **constants: Any) -> ir.Model:
    """The model of ``graph`` with its only site replaced by LEFT @ RIGHT."""
    model = tiny_model(graph, **constants)
    factor_site(model, only_site(model), LEFT, RIGHT)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def product(node: str, **constants: Any) -> ir.Model:
    return factored(f"g (float[B,4] x) => (float[B,6] y) {{ {node} }}", **constants)


ONE_PRODUCT = [
    pytest.param("[mm] y = MatMul(x, W)", {"W": W}, X @ LEFT @ RIGHT, id="MatMul"),
    pytest.param("[mm] y = Gemm(x, W, c)", {"W": W, "c": BIAS}, X @ LEFT @ RIGHT + BIAS, id="Gemm with a bias"),
    pytest.param(
        "[mm] y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, W, c)",
        {"W": W.T.copy(), "c": BIAS},
        0.5 * X @ LEFT @ RIGHT + 2 * BIAS,
        id="Gemm with alpha, beta and transB",
    ),
    pytest.param(
        "v = Transpose(W)\n [mm] y = MatMul(x, v)", {"W": W.T.copy()}, X @ LEFT @ RIGHT, id="behind Transpose"
    ),
    pytest.param("v = Identity(W)\n [mm] y = MatMul(x, v)", {"W": W}, X @ LEFT @ RIGHT, id="behind Identity"),
    pytest.param(
        "v = Cast <to = 1> (W)\n [mm] y = MatMul(x, v)", {"W": W.astype(np.float16)}, X @ LEFT @ RIGHT, id="behind Cast"
    ),
    pytest.param(
        "v = DequantizeLinear(Q, s, z)\n [mm] y = MatMul(x, v)",
        {"Q": INT8, "s": np.float32(0.5), "z": np.int8(1)},
        X @ LEFT @ RIGHT,
        id="behind DequantizeLinear",
    ),
]


class TestFactored:
    @pytest.mark.parametrize(("node", "constants", "expected"), ONE_PRODUCT)
    def test_the_output_is_that_of_the_numpy_product(
        self, node: str, constants: dict[str, Any], expected: np.ndarray
    ) -> None:
        model = product(node, **constants)
        for level in LEVELS:
            np.testing.assert_allclose(run(model, {"x": X}, level)[0], expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(("node", "constants", "expected"), ONE_PRODUCT)
    def test_the_old_weight_and_its_links_are_gone(
        self, node: str, constants: dict[str, Any], expected: np.ndarray
    ) -> None:
        model = product(node, **constants)
        assert [name for name in initializer_names(model) if name != "c"] == ["mm/left", "mm/right"]
        assert operators(model) == ["MatMul", node_named(model, "mm").op_type]

    def test_the_old_node_keeps_its_name_its_output_and_its_attributes(self) -> None:
        model = product("[mm] y = Gemm <alpha = 0.5, transB = 1> (x, W, c)", W=W.T.copy(), c=BIAS)
        node = node_named(model, "mm")
        assert (node.op_type, node.outputs[0].name, list(node.attributes)) == ("Gemm", "y", ["alpha"])
        assert [value.name for value in node.inputs if value] == ["mm/left_product", "mm/right", "c"]

    def test_the_new_value_has_a_type_and_a_shape(self) -> None:
        graph = "g (float[B,S,4] x) => (float[B,S,6] y) { [mm] y = MatMul(x, W) }"
        hidden = node_named(factored(graph, W=W), "mm").inputs[0]
        assert hidden is not None
        assert hidden.dtype == ir.DataType.FLOAT
        assert hidden.shape == ir.Shape(["B", "S", 2])

    def test_no_shape_is_made_up_where_none_is_known(self) -> None:
        graph = "g (float[B,4] x) => (float[B,6] y) { h = Relu(x)\n [mm] z = MatMul(h, W)\n y = Relu(z) }"
        hidden = node_named(factored(graph, W=W), "mm").inputs[0]
        assert hidden is not None
        assert (hidden.dtype, hidden.shape) == (ir.DataType.FLOAT, None)

    def test_names_that_are_taken_are_avoided(self) -> None:
        graph = """g (float[B,4] x, bool c) => (float[B,6] y, float[4] u) {
            [mm] a = MatMul(x, W)
            u = Identity(L)
            y = If (c) <
                then_branch = t () => (float[B,6] b) { R = Identity(a)
                    b = Relu(R) },
                else_branch = e () => (float[B,6] d) { d = Identity(a) }
            >
        }"""
        model = tiny_model(graph, W=W, L=BIAS[:4])
        model.graph.initializers["L"].name = "mm/left"
        next(node for node in model.graph.all_nodes() if node.outputs[0].name == "R").outputs[0].name = "mm/right"
        factor_site(model, only_site(model), LEFT, RIGHT)
        assert initializer_names(model) == ["mm/left", "mm/left_1", "mm/right_1"]
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        y, u = run(model, {"x": X, "c": np.array(True)})
        np.testing.assert_allclose(y, np.maximum(X @ LEFT @ RIGHT, 0), rtol=0, atol=1e-5)
        np.testing.assert_array_equal(u, BIAS[:4])

    def test_what_something_else_needs_of_the_old_weight_stays(self) -> None:
        graph = """g (float[B,4] x) => (float[B,6] y, float t) {
            v = DequantizeLinear(Q, s)
            [mm] y = MatMul(x, v)
            t = Identity(s)
        }"""
        model = factored(graph, Q=INT8, s=np.float32(0.5))
        assert initializer_names(model) == ["mm/left", "mm/right", "s"]
        assert run(model, {"x": X})[1] == np.float32(0.5)

    def test_links_that_nothing_ever_used_do_not_keep_the_old_weight(self) -> None:
        model = product("v = Transpose(W)\n w = Identity(v)\n [mm] y = MatMul(x, W)", W=W)
        assert operators(model) == ["MatMul", "MatMul"]
        assert initializer_names(model) == ["mm/left", "mm/right"]

    def test_a_lookup_reads_the_left_factor_and_a_product_follows(self) -> None:
        graph = "g (int64[B,S] ids) => (float[B,S,6] y) { [lookup] y = Gather(W, ids) }"
        model = factored(graph, W=W)
        ids = np.array([[0, 3, 1], [2, -1, 2]])
        np.testing.assert_allclose(run(model, {"ids": ids})[0], LEFT[ids] @ RIGHT, rtol=0, atol=1e-6)
        node = node_named(model, "lookup")
        assert (operators(model), node.op_type, node.outputs[0].name) == (["Gather", "MatMul"], "MatMul", "y")
        assert node.inputs[0] is not None
        assert node.inputs[0].shape == ir.Shape(["B", "S", 2])

    @pytest.mark.parametrize(
        ("attributes", "columns"),
        [
            pytest.param("", 12, id="as wide as its input"),
            pytest.param(", unidirectional = 1", 12, id="causal"),
            pytest.param(", qkv_hidden_sizes = [4, 4, 8]", 16, id="with wider values"),
        ],
    )
    def test_a_packed_attention_takes_the_narrow_input(self, attributes: str, columns: int) -> None:
        graph = f"""g (float[B,S,4] x) => (float[B,S,N] y) {{
            [attention] y = com.microsoft.Attention <num_heads = 2{attributes}> (x, W, c)
        }}"""
        model = tiny_model(graph, W=random_weight(4, columns), c=random_weight(columns))
        left, right = svd_factors(only_site(model).weight.numpy(), 3)
        dense = model.clone()
        replace_weight(dense, only_site(dense), left @ right)
        factor_site(model, only_site(model), left, right)
        feeds = {"x": random_weight(2, 5, 4, seed=7)}
        for level in LEVELS:
            np.testing.assert_allclose(run(model, feeds, level), run(dense, feeds, level), rtol=0, atol=1e-5)

    def test_a_packed_attention_keeps_its_keys_and_values_of_earlier_tokens(self) -> None:
        graph = """g (float[B,S,4] x, float[2,B,2,P,2] past) => (float[B,S,4] y, float[2,B,2,T,2] present) {
            y, present = com.microsoft.Attention <num_heads = 2, unidirectional = 1> (x, W, c, , past)
        }"""
        model = tiny_model(graph, W=random_weight(4, 12), c=random_weight(12))
        feeds = {"x": random_weight(2, 5, 4, seed=7), "past": random_weight(2, 2, 2, 3, 2, seed=8)}
        expected = run(model, feeds)
        factor_fully(model, only_site(model))
        for actual, output in zip(run(model, feeds), expected, strict=True):
            np.testing.assert_allclose(actual, output, rtol=0, atol=1e-5)

    def test_a_fused_product_keeps_its_activation(self) -> None:
        graph = """g (float[B,4] x) => (float[B,6] y) {
            [mm] y = com.microsoft.FusedGemm <activation = "Relu", transB = 1> (x, W, c)
        }"""
        model = tiny_model(graph, W=W.T.copy(), c=BIAS)
        factor_site(model, only_site(model), LEFT, RIGHT)
        expected = np.maximum(X @ LEFT @ RIGHT + BIAS, 0)
        np.testing.assert_allclose(run(model, {"x": X})[0], expected, rtol=0, atol=1e-5)


class TestTied:
    GRAPH = """g (float[B,4] x) => (float[B,6] y) {
        v = Identity(W)
        w = Transpose(W)
        h = Relu(x)
        [first] a = MatMul(x, W)
        [second] b = MatMul(x, v)
        [third] c = Gemm <transB = 1> (h, w)
        d = Add(a, b)
        y = Add(c, d)
    }"""

    def test_every_use_is_rewritten_with_the_same_factors(self) -> None:
        model = factored(self.GRAPH, W=W)
        expected = 2 * X @ LEFT @ RIGHT + np.maximum(X, 0) @ LEFT @ RIGHT
        np.testing.assert_allclose(run(model, {"x": X})[0], expected, rtol=0, atol=1e-5)
        assert initializer_names(model) == ["first/left", "first/right"]

    def test_the_first_product_is_shared_where_the_input_is(self) -> None:
        model = factored(self.GRAPH, W=W)
        first, second, third = (node_named(model, name).inputs[0] for name in ("first", "second", "third"))
        assert first is second
        assert first is not third

    def test_lookups_share_the_factors(self) -> None:
        graph = "g (int64[S] i, int64[S] j) => (float[S,6] y) { a = Gather(W, i)\n b = Gather(W, j)\n y = Add(a, b) }"
        model = factored(graph, W=W)
        i, j = np.array([0, 1]), np.array([3, 3])
        expected = (LEFT[i] + LEFT[j]) @ RIGHT
        np.testing.assert_allclose(run(model, {"i": i, "j": j})[0], expected, rtol=0, atol=1e-6)
        assert initializer_names(model) == ["Gather:a/left", "Gather:a/right"]

    def test_layers_of_their_own_share_a_weight(self) -> None:
        graph = "g (float[B,4] x) => (float[B,4] y) { a = MatMul(x, W)\n b = Relu(a)\n y = MatMul(b, W) }"
        model = tiny_model(graph, W=random_weight(4, 4))
        left, right = random_weight(4, 2, seed=3), random_weight(2, 4, seed=4)
        factor_site(model, only_site(model), left, right)
        expected = np.maximum(X @ left @ right, 0) @ left @ right
        np.testing.assert_allclose(run(model, {"x": X})[0], expected, rtol=1e-5, atol=1e-5)


class TestTypes:
    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
    def test_factors_are_cast_once_to_the_type_of_the_weight(self, dtype: Any) -> None:
        data_type = ir.DataType.from_numpy(np.dtype(dtype)).name.lower()
        graph = f"g ({data_type}[B,4] x) => ({data_type}[B,6] y) {{ [mm] y = MatMul(x, W) }}"
        model = tiny_model(graph, W=W.astype(dtype))
        left, right = LEFT.astype(np.float64), RIGHT.astype(np.float64)
        factor_site(model, only_site(model), left, right)
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        for name, factor in (("mm/left", left), ("mm/right", right)):
            tensor = model.graph.initializers[name].const_value
            assert tensor is not None
            assert tensor.numpy().dtype == dtype
            np.testing.assert_array_equal(tensor.numpy(), factor.astype(dtype))

    def test_a_half_precision_model_runs(self) -> None:
        graph = "g (float16[B,4] x) => (float16[B,6] y) { [mm] y = MatMul(x, W) }"
        model = factored(graph, W=W.astype(np.float16))
        np.testing.assert_allclose(run(model, {"x": X.astype(np.float16)})[0], X @ LEFT @ RIGHT, rtol=1e-2, atol=1e-2)


class TestReplaced:
    @pytest.mark.parametrize(("node", "constants", "expected"), ONE_PRODUCT)
    def test_the_output_is_that_of_the_new_weight(
        self, node: str, constants: dict[str, Any], expected: np.ndarray
    ) -> None:
        model = tiny_model(f"g (float[B,4] x) => (float[B,6] y) {{ {node} }}", **constants)
        replace_weight(model, only_site(model), LEFT @ RIGHT)
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        np.testing.assert_allclose(run(model, {"x": X})[0], expected, rtol=0, atol=1e-5)
        assert [name for name in initializer_names(model) if name != "c"] == ["mm/weight"]
        assert len(operators(model)) == 1

    def test_a_table_is_replaced(self) -> None:
        model = tiny_model("g (int64[S] ids) => (float[S,6] y) { y = Gather(W, ids) }", W=W)
        replace_weight(model, only_site(model), 2 * W)
        np.testing.assert_array_equal(run(model, {"ids": np.array([2, 0])})[0], 2 * W[[2, 0]])

    def test_tied_nodes_share_the_new_weight(self) -> None:
        model = tiny_model(TestTied.GRAPH, W=W)
        replace_weight(model, only_site(model), LEFT @ RIGHT)
        assert initializer_names(model) == ["first/weight"]


class TestRefused:
    @pytest.mark.parametrize(
        ("left", "right"),
        [
            pytest.param((4, 0), (0, 6), id="rank 0"),
            pytest.param((6, 2), (2, 4), id="factors of the transposed weight"),
            pytest.param((4, 2), (3, 6), id="ranks that differ"),
        ],
    )
    def test_factors_of_other_shapes(self, left: tuple[int, int], right: tuple[int, int]) -> None:
        model = tiny_model("g (float[B,4] x) => (float[B,6] y) { [mm] y = MatMul(x, W) }", W=W)
        with pytest.raises(
            OptionError, match=r"site 'mm' needs factors of shapes \(4, r\) and \(r, 6\) with r > 0, not"
        ):
            factor_site(model, only_site(model), np.zeros(left), np.zeros(right))
        assert initializer_names(model) == ["W"]

    def test_a_weight_of_another_shape(self) -> None:
        model = tiny_model("g (float[B,4] x) => (float[B,6] y) { [mm] y = MatMul(x, W) }", W=W)
        with pytest.raises(OptionError, match=r"site 'mm' needs a weight of shape \(4, 6\), not \(6, 4\)"):
            replace_weight(model, only_site(model), W.T)

    def test_entries_beyond_the_range_of_the_type(self) -> None:
        graph = "g (float16[B,4] x) => (float16[B,6] y) { [mm] y = MatMul(x, W) }"
        model = tiny_model(graph, W=W.astype(np.float16))
        with pytest.raises(OptionError, match="site 'mm' would get entries that are not finite in FLOAT16"):
            factor_site(model, only_site(model), LEFT, 1e6 * RIGHT)
        assert initializer_names(model) == ["W"]

    def test_zero_factors_of_rank_one_are_a_valid_way_to_say_nothing(self) -> None:
        model = tiny_model("g (float[B,4] x) => (float[B,6] y) { [mm] y = Gemm(x, W, c) }", W=0 * W, c=BIAS)
        factor_site(model, only_site(model), np.zeros((4, 1)), np.zeros((1, 6)))
        np.testing.assert_array_equal(run(model, {"x": X})[0], np.tile(BIAS, (5, 1)))


def test_a_rewriter_keeps_names_apart_from_site_to_site() -> None:
    graph = "g (float[B,4] x) => (float[B,4] y) { [a] h = MatMul(x, V)\n [b] y = MatMul(h, W) }"
    model = tiny_model(graph, V=random_weight(4, 4), W=random_weight(4, 4, seed=1))
    first, second = find_sites(model).sites
    rewriter = Rewriter(model)
    # As if the two sites came from different searches of a model with names that repeat.
    rewriter.factor(first, *svd_factors(first.weight.numpy(), 2))
    rewriter.factor(replace(second, name="a"), *svd_factors(second.weight.numpy(), 2))
    assert initializer_names(model) == ["a/left", "a/left_1", "a/right", "a/right_1"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@st.composite
def product_chains(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A chain of MatMul and Gemm nodes over few weights, so that some are tied, and some in a way that is skipped."""
    weights = {f"W{index}": random_weight(4, 4, seed=index) / 2 for index in range(draw(st.integers(1, 3)))}
    lines = []
    for index in range(draw(st.integers(1, 5))):
        weight = draw(st.sampled_from(sorted(weights)))
        lines.append(f"v{index} = {draw(st.sampled_from(['Identity', 'Transpose']))}({weight})")
        operator = draw(
            st.sampled_from(["MatMul", "Gemm", "Gemm <transB = 1>", "com.microsoft.FusedMatMul <transB = 1>"])
        )
        lines.append(f"x{index + 1} = {operator}(x{index}, {draw(st.sampled_from([weight, f'v{index}']))})")
    body = "\n".join(lines)
    return f"g (float[B,4] x0) => (float[B,4] x{index + 1}) {{ {body} }}", weights


@settings(deadline=None, max_examples=40)
@given(product_chains())
def test_full_rank_factors_reproduce_any_chain_of_products(chain: tuple[str, dict[str, Any]]) -> None:
    graph, weights = chain
    expected = run(tiny_model(graph, **weights), {"x0": X})[0]
    model = tiny_model(graph, **weights)
    search = find_sites(model)
    for site in search.sites:
        factor_fully(model, site)
    np.testing.assert_allclose(run(model, {"x0": X})[0], expected, rtol=1e-4, atol=1e-4)
    assert all(skip.reason.endswith("which uses it in another way") for skip in search.skipped)
    assert {site.weight.name for site in search.sites}.isdisjoint(model.graph.initializers)


class TestFactoredJointly:
    GRAPH = """g (float[B,S,4] x) => (float[B,S,6] a, float[B,S,6] b, float[B,S,3] c) {
        h = Relu(x)
        [a] a = MatMul(h, A)
        [b] b = MatMul(h, Q)
        [c] c = MatMul(h, C)
    }"""
    ROWS = random_weight(2, 5, 4, seed=1)
    RIGHTS = (random_weight(2, 6, seed=4), random_weight(2, 6, seed=5), random_weight(2, 3, seed=6))

    def model(self) -> ir.Model:
        return tiny_model(self.GRAPH, A=W, Q=random_weight(4, 6, seed=7), C=random_weight(4, 3, seed=8))

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["in graph order", "backwards"])
    def test_all_weights_are_products_with_one_left_factor(self, order: tuple[int, ...]) -> None:
        model = self.model()
        sites = find_sites(model).sites
        Rewriter(model).factor_jointly([sites[i] for i in order], LEFT, [self.RIGHTS[i] for i in order])
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        assert operators(model) == ["Relu", *["MatMul"] * 4]
        first = "abc"[order[0]]
        assert initializer_names(model) == sorted([f"{first}/left", "a/right", "b/right", "c/right"])
        for level in LEVELS:
            for found, right in zip(run(model, {"x": self.ROWS}, level), self.RIGHTS, strict=True):
                np.testing.assert_allclose(found, np.maximum(self.ROWS, 0) @ LEFT @ right, rtol=0, atol=1e-5)

    def test_at_full_rank_the_outputs_stay(self) -> None:
        model = self.model()
        expected = run(model, {"x": self.ROWS})
        sites = find_sites(model).sites
        Rewriter(model).factor_jointly(sites, np.eye(4), [site.weight.numpy() for site in sites])
        for found, output in zip(run(model, {"x": self.ROWS}), expected, strict=True):
            np.testing.assert_allclose(found, output, rtol=0, atol=1e-5)

    def test_a_right_factor_that_does_not_fit_is_refused_and_nothing_changes(self) -> None:
        model = self.model()
        before = ir.to_proto(model)
        with pytest.raises(OptionError, match=r"site 'c' needs factors of shapes \(4, r\) and \(r, 3\)"):
            Rewriter(model).factor_jointly(find_sites(model).sites, LEFT, [*self.RIGHTS[:2], self.RIGHTS[0]])
        assert ir.to_proto(model) == before
