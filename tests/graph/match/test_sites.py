from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.operators import INTEGERS
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import INLINE, MatMulSite, find_sites
from tests.graph.tiny_graphs import random_weight, tiny_model

W = random_weight(4, 6)
BIAS = random_weight(6)
INT8 = np.random.default_rng(1).integers(-128, 128, (4, 6)).astype(np.int8)
SCALE = np.float32(0.5)
OVERRIDABLE = "that is also a graph input, so a caller may override it; `freeze_inputs` makes it a constant"


def only_site(model: ir.Model) -> MatMulSite:
    search = find_sites(model)
    assert not search.skipped
    (site,) = search.sites
    return site


def skipped(model: ir.Model) -> dict[str, str]:
    search = find_sites(model)
    assert not search.sites
    return {skip.name: skip.reason for skip in search.skipped}


def product(node: str, **constants: Any) -> ir.Model:
    return tiny_model(f"g (float[B,4] x) => (float[B,6] y) {{ {node} }}", **constants)


class TestFound:
    @pytest.mark.parametrize(
        ("node", "constants"),
        [
            pytest.param("[mm] y = MatMul(x, W)", {"W": W}, id="MatMul"),
            pytest.param("[mm] y = Gemm(x, W)", {"W": W}, id="Gemm"),
            pytest.param("[mm] y = Gemm(x, W, c)", {"W": W, "c": BIAS}, id="Gemm with a bias"),
            pytest.param("[mm] y = Gemm <transB = 1> (x, W)", {"W": W.T.copy()}, id="Gemm with transB"),
            pytest.param("[mm] y = Gemm <alpha = 0.5, beta = 2.0> (x, W)", {"W": W}, id="Gemm with alpha and beta"),
            pytest.param(
                "[mm] y = com.microsoft.FusedMatMul <alpha = 0.5, transB = 1> (x, W)",
                {"W": W.T.copy()},
                id="FusedMatMul with transB",
            ),
            pytest.param('[mm] y = com.microsoft.FusedGemm <activation = "Relu"> (x, W)', {"W": W}, id="FusedGemm"),
            pytest.param("v = Transpose(W)\n [mm] y = MatMul(x, v)", {"W": W.T.copy()}, id="MatMul behind Transpose"),
            pytest.param(
                "v = Transpose(W)\n [mm] y = Gemm <transB = 1> (x, v)", {"W": W}, id="Gemm with transB behind Transpose"
            ),
        ],
    )
    def test_every_product_is_oriented_as_in_times_out(self, node: str, constants: dict[str, Any]) -> None:
        site = only_site(product(node, **constants))
        assert (site.name, site.in_features, site.out_features) == ("mm", 4, 6)
        assert site.weight.shape == (4, 6)
        np.testing.assert_array_equal(site.weight.numpy(), W)
        assert [node.name for node in site.nodes] == ["mm"]

    def test_a_packed_attention_weight(self) -> None:
        graph = """g (float[B,S,4] x) => (float[B,S,4] y) {
            [attention] y = com.microsoft.Attention <num_heads = 2> (x, W, c)
        }"""
        site = only_site(tiny_model(graph, W=random_weight(4, 12), c=random_weight(12)))
        assert (site.role, site.layer, site.weight.shape) == (Role.QUERY_KEY_VALUE, 0, (4, 12))

    def test_a_table_that_rows_are_looked_up_in(self) -> None:
        graph = "g (int64[B,S] ids) => (float[B,S,6] y) { [lookup] y = Gather(W, ids) }"
        site = only_site(tiny_model(graph, W=W))
        assert (site.role, site.layer, site.in_features, site.out_features) == (Role.EMBEDDING, None, 4, 6)

    def test_a_quantized_weight_knows_how_small_it_is_stored(self) -> None:
        site = only_site(product("v = DequantizeLinear(Q, s)\n [mm] y = MatMul(x, v)", Q=INT8, s=SCALE))
        assert (site.parameters, site.weight.stored_bytes) == (24, 24)

    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
    def test_a_weight_of_every_float_type(self, dtype: Any) -> None:
        assert only_site(product("[mm] y = MatMul(x, W)", W=W.astype(dtype))).weight.dtype.numpy() == dtype

    def test_a_weight_that_several_nodes_use_is_one_site(self) -> None:
        graph = """g (float[B,4] x) => (float[B,4] y) {
            [first] a = MatMul(x, W)
            v = Identity(W)
            [second] b = Gemm(a, v)
            t = Transpose(W)
            [third] y = Gemm <transB = 1> (b, t)
        }"""
        site = only_site(tiny_model(graph, W=random_weight(4, 4)))
        assert site.name == "first"
        assert [node.name for node in site.nodes] == ["first", "second", "third"]

    def test_tables_that_share_their_rows_are_one_site(self) -> None:
        graph = "g (int64[S] i, int64[S] j) => (float[S,6] y) { a = Gather(W, i)\n b = Gather(W, j)\n y = Add(a, b) }"
        assert len(only_site(tiny_model(graph, W=W)).nodes) == 2

    def test_quantized_weights_that_share_integers_and_scale_are_one_site(self) -> None:
        graph = """g (float[B,4] x) => (float[B,6] y) {
            v = DequantizeLinear(Q, s)
            w = DequantizeLinear(Q, s)
            a = MatMul(x, v)
            b = MatMul(x, w)
            y = Add(a, b)
        }"""
        assert len(only_site(tiny_model(graph, Q=INT8, s=SCALE)).nodes) == 2

    def test_sites_come_in_the_order_of_the_graph(self) -> None:
        graph = "g (float[B,4] x) => (float[B,4] y) { [z] a = MatMul(x, V)\n [a] b = Relu(a)\n [b] y = MatMul(b, U) }"
        search = find_sites(tiny_model(graph, U=random_weight(4, 4), V=random_weight(4, 4)))
        assert [site.name for site in search.sites] == ["z", "b"]

    def test_a_site_without_a_name_of_its_own_is_called_after_its_output(self) -> None:
        assert only_site(product("y = MatMul(x, W)", W=W)).name == "MatMul:y"

    def test_names_are_unique_even_where_the_nodes_share_one(self) -> None:
        graph = "g (float[B,4] x) => (float[B,4] y) { [n] a = MatMul(x, U)\n [n] b = MatMul(a, V)\n [n] y = Relu(b) }"
        search = find_sites(tiny_model(graph, U=random_weight(4, 4), V=random_weight(4, 4)))
        assert [site.name for site in search.sites] == ["n", "MatMul:b"]


class TestBreakEvenRank:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            pytest.param((4, 4), 1, id="square: 2 × 8 = 16 is no gain"),
            pytest.param((3, 6), 1, id="exactly break-even at 2 counts as no gain"),
            pytest.param((768, 3072), 614, id="a BERT-base FFN"),
            pytest.param((1, 100), 0, id="a single row"),
        ],
    )
    def test_it_is_the_largest_rank_that_saves_parameters(self, shape: tuple[int, int], expected: int) -> None:
        graph = f"g (float[B,{shape[0]}] x) => (float[B,{shape[1]}] y) {{ y = MatMul(x, W) }}"
        site = only_site(tiny_model(graph, W=np.zeros(shape, np.float32)))
        rows, columns = shape
        assert site.break_even_rank == expected
        assert expected * (rows + columns) < site.parameters <= (expected + 1) * (rows + columns)


class TestNoWeights:
    @pytest.mark.parametrize(
        ("node", "constants"),
        [
            pytest.param("y = MatMul(x, w)", {}, id="a product of two activations"),
            pytest.param("y = MatMulInteger(q, p)", {}, id="a product of two quantized activations"),
            pytest.param("y = Gather(ids, k)", {"k": np.array(0)}, id="picking from an activation"),
            pytest.param("y = Gather(P, k)", {"P": np.arange(8).reshape(1, 8)}, id="picking from constant positions"),
            pytest.param("y = Gather(P, k)", {"P": W[0]}, id="picking from a constant vector"),
            pytest.param("y = Add(x, W)", {"W": W}, id="adding a matrix"),
        ],
    )
    def test_they_are_neither_found_nor_skipped(self, node: str, constants: dict[str, Any]) -> None:
        inputs = "float[B,4] x, float[4,6] w, int8[B,4] q, int8[4,6] p, int64[B,S] ids"
        inputs += "" if "k" in constants else ", int64[N] k"
        search = find_sites(tiny_model(f"g ({inputs}) => (float[M] y) {{ {node} }}", **constants))
        assert not search.sites
        assert not search.skipped


class TestSkipped:
    @pytest.mark.parametrize(
        ("node", "constants", "reason"),
        [
            pytest.param(
                "[n] y = Gemm <transA = 1> (x, W)",
                {"W": W},
                "Gemm has transA = 1, which a product with two factors cannot express",
                id="Gemm with transA",
            ),
            pytest.param(
                "[n] y = com.microsoft.FusedMatMul <transBatchA = 1> (x, W)",
                {"W": W},
                "com.microsoft.FusedMatMul has transBatchA = 1, which a product with two factors cannot express",
                id="FusedMatMul with transBatchA",
            ),
            pytest.param(
                "[n] y = Gather <axis = 1> (W, ids)",
                {"W": W},
                "Gather has axis = 1, which a product with two factors cannot express",
                id="a lookup of columns",
            ),
            pytest.param(
                "[n] y = MatMul(W, x)",
                {"W": W},
                "MatMul has its constant operand on the left",
                id="constant on the left",
            ),
            pytest.param(
                "[n] y = MatMul(x, W)",
                {"W": W[None]},
                "MatMul has a constant of shape [1, 4, 6], not a matrix",
                id="a batch of weights",
            ),
            pytest.param(
                "[n] y = MatMul(x, W)",
                {"W": W.astype(np.int32)},
                "MatMul has a constant of type INT32, not a float weight",
                id="integer weights",
            ),
            pytest.param(
                "[n] y = Gather(Q, ids)",
                {"Q": INT8},
                "Gather has a constant of type INT8, not a float weight; `dequantize` turns integers back into floats",
                id="a table of integers that are dequantized after the lookup",
            ),
            pytest.param(
                "v = Mul(W, s)\n [n] y = MatMul(x, v)",
                {"W": W, "s": SCALE},
                "MatMul has a weight that is computed from constants; fold the constants first, `onnxsim MODEL FOLDED` does that",
                id="a weight that is scaled in the graph",
            ),
            pytest.param(
                "[n] y = MatMulInteger(q, Q)",
                {"Q": INT8},
                f"MatMulInteger {INTEGERS}",
                id="MatMulInteger",
            ),
            pytest.param(
                "[n] y = QLinearMatMul(q, s, z, Q, s, z, s, z)",
                {"Q": INT8, "s": SCALE, "z": np.int8(0)},
                "QLinearMatMul stores its weight as integers; squeeze the float model first and quantize afterwards",
                id="QLinearMatMul",
            ),
            pytest.param(
                "[n] y = com.microsoft.MatMulNBits <K = 4, N = 6, bits = 4, block_size = 16> (x, Q, S)",
                {"Q": np.zeros((6, 1, 8), np.uint8), "S": BIAS},
                f"com.microsoft.MatMulNBits {INTEGERS}",
                id="MatMulNBits",
            ),
            pytest.param(
                "[n] y = com.microsoft.QAttention <num_heads = 2> (q, Q, c, s, s)",
                {"Q": INT8, "c": BIAS, "s": SCALE},
                f"com.microsoft.QAttention {INTEGERS}",
                id="QAttention",
            ),
            pytest.param(
                "[n] y = com.microsoft.EmbedLayerNormalization(ids, , W, V, , g, g)",
                {"W": W, "V": W, "g": BIAS},
                "com.microsoft.EmbedLayerNormalization has its tables fused in; squeeze the model before it is fused",
                id="EmbedLayerNormalization",
            ),
            pytest.param(
                '[n] y = Einsum <equation = "bi,ij->bj"> (x, W)',
                {"W": W},
                "Einsum is not a plain matrix product",
                id="Einsum",
            ),
        ],
    )
    def test_a_weight_that_factors_cannot_replace(self, node: str, constants: dict[str, Any], reason: str) -> None:
        inputs = "float[B,4] x, int8[B,4] q, int64[B,S] ids"
        assert skipped(tiny_model(f"g ({inputs}) => (float[M] y) {{ {node} }}", **constants)) == {"n": reason}

    def test_a_weight_that_a_caller_may_override(self) -> None:
        graph = "g (float[B,4] x, float[4,6] W) => (float[B,6] y) { [n] y = MatMul(x, W) }"
        reason = f"MatMul has a weight, 'W', {OVERRIDABLE}"
        assert skipped(tiny_model(graph, W=W)) == {"n": reason}

    def test_a_table_that_a_caller_may_override(self) -> None:
        graph = "g (int64[S] ids, float[4,6] W) => (float[S,6] y) { [n] y = Gather(W, ids) }"
        reason = f"Gather has a weight, 'W', {OVERRIDABLE}"
        assert skipped(tiny_model(graph, W=W)) == {"n": reason}

    def test_a_weight_that_is_an_output_of_the_model(self) -> None:
        graph = "g (float[B,4] x) => (float[B,6] y, float[4,6] v) { v = Identity(W)\n [n] y = MatMul(x, W) }"
        assert skipped(tiny_model(graph, W=W)) == {"n": "MatMul has a weight, 'W', that is also an output of the model"}

    @pytest.mark.parametrize(
        ("other", "operator"),
        [
            pytest.param("v = Transpose(W)\n [other] b = MatMul(x, v)", "MatMul", id="transposed"),
            pytest.param("[other] b = Gemm <transB = 1> (x, W)", "Gemm", id="transposed by Gemm"),
            pytest.param("[other] b = Gather(W, ids)", "Gather", id="as an embedding table"),
            pytest.param("[other] b = Add(x, W)", "Add", id="not as a weight"),
            pytest.param("[other] b = MatMul(W, x)", "MatMul", id="on the left"),
        ],
    )
    def test_a_weight_that_is_also_used_in_another_way(self, other: str, operator: str) -> None:
        graph = f"g (float[4,4] x, int64[S] ids) => (float[M] y) {{ [n] a = MatMul(x, W)\n {other}\n y = Add(a, b) }}"
        reasons = skipped(tiny_model(graph, W=random_weight(4, 4)))
        assert reasons["n"] == f"MatMul shares its weight, 'W', with {operator} 'other', which uses it in another way"

    def test_an_embedding_tied_with_the_output_layer(self) -> None:
        graph = """g (int64[S] ids) => (float[S,4] y) {
            [embed] a = Gather(W, ids)
            b = Relu(a)
            v = Transpose(W)
            [lm_head] y = MatMul(b, v)
        }"""
        reason = "Gather shares its weight, 'W', with MatMul 'lm_head', which uses it in another way"
        assert skipped(tiny_model(graph, W=W)) == {"embed": reason}

    def test_a_quantized_weight_that_is_decoded_with_two_scales(self) -> None:
        graph = """g (float[B,4] x) => (float[B,6] y) {
            v = DequantizeLinear(Q, s)
            w = DequantizeLinear(Q, t)
            [n] a = MatMul(x, v)
            [m] b = MatMul(x, w)
            y = Add(a, b)
        }"""
        reason = "MatMul shares its weight, 'Q', with MatMul 'm', which uses it in another way"
        assert skipped(tiny_model(graph, Q=INT8, s=SCALE, t=np.float32(2))) == {"n": reason}

    def test_weights_inside_the_branches_of_an_if(self) -> None:
        graph = """g (float[B,4] x, bool c) => (float[B,6] y) {
            y = If (c) <
                then_branch = t () => (float[B,6] a) { [then] a = MatMul(x, W) },
                else_branch = e () => (float[B,6] b) { V = Constant <value = float[1,6] {1,2,3,4,5,6}> ()
                    [else] b = MatMul(x, V) }
            >
        }"""
        reason = "MatMul lies in the body of an If, Loop or Scan, which is not rewritten"
        assert skipped(tiny_model(graph, W=W)) == {"then": reason, "else": reason}

    def test_a_weight_shared_with_a_branch_of_an_if(self) -> None:
        graph = """g (float[B,4] x, bool c) => (float[B,6] y) {
            [outside] a = MatMul(x, W)
            b = If (c) <
                then_branch = t () => (float[B,6] d) { [then] d = MatMul(x, W) },
                else_branch = e () => (float[B,6] f) { f = Identity(a) }
            >
            y = Add(a, b)
        }"""
        assert skipped(tiny_model(graph, W=W)) == {
            "outside": "MatMul shares its weight, 'W', with MatMul 'then', which uses it in another way",
            "then": "MatMul lies in the body of an If, Loop or Scan, which is not rewritten",
        }

    def test_a_weight_inside_a_model_local_function(self) -> None:
        function = """<opset_import: ["": 21], domain: "local"> f (a) => (b) {
            V = Constant <value = float[4,1] {1,2,3,4}> ()
            [inside] b = MatMul(a, V)
        }"""
        model = tiny_model("g (float[B,4] x) => (float[B,1] y) { [call] y = local.f(x) }", functions=function)
        assert skipped(model) == {"inside": "MatMul lies in the model-local function 'f', which is not rewritten"}

    def test_a_weight_handed_to_a_model_local_function(self) -> None:
        function = '<opset_import: ["": 21], domain: "local"> f (a, w) => (b) { b = MatMul(a, w) }'
        model = tiny_model("g (float[B,4] x) => (float[B,6] y) { [call] y = local.f(x, W) }", functions=function, W=W)
        reason = f"local.f hands its weight to a model-local function; {INLINE}"
        assert skipped(model) == {"call": reason}
