"""Which role and layer the weights of attention and feed-forward blocks have."""

import re

import pytest

from tests.graph.layers import (
    WITH_OUTPUT,
    attention,
    core,
    feed_forward,
    output,
    placed,
    post_norm_layer,
    pre_norm_layer,
    projections,
    whole_layer,
)


class TestLayers:
    def test_post_norm_layers_as_in_bert(self) -> None:
        body = post_norm_layer(0, "x", "h") + post_norm_layer(1, "h", "y")
        assert placed(body) == whole_layer(0, 0) | whole_layer(1, 1)

    def test_pre_norm_layers_as_in_gpt2(self) -> None:
        body = pre_norm_layer(0, "x", "h") + pre_norm_layer(1, "h", "e") + "y = LayerNormalization(e, c3)"
        assert placed(body) == whole_layer(0, 0) | whole_layer(1, 1)

    def test_attention_and_ffn_side_by_side_as_in_phi(self) -> None:
        def side_by_side(n: int, x: str, y: str) -> str:
            return f"""
                l{n} = LayerNormalization({x}, c1)
                {attention(n, f"l{n}", f"a{n}")}
                {feed_forward(n, f"l{n}", f"h{n}")}
                b{n} = Add(a{n}, h{n})
                {y} = Add(b{n}, {x})
            """

        body = side_by_side(0, "x", "e") + side_by_side(1, "e", "y")
        assert placed(body) == whole_layer(0, 0) | whole_layer(1, 1)

    def test_norms_fused_with_the_residual(self) -> None:
        body = f"""
            {attention(0, "x", "a")}
            m = com.microsoft.SkipLayerNormalization(a, x, c1, c2, c3)
            {feed_forward(0, "m", "h")}
            y = com.microsoft.SkipLayerNormalization(h, m, c1, c2, c3)
        """
        assert placed(body) == whole_layer(0, 0)

    def test_fused_pre_norms_that_hand_on_the_sum(self) -> None:
        body = f"""
            {attention(0, "x", "a")}
            m, , , r = com.microsoft.SkipSimplifiedLayerNormalization(a, x, c1)
            {feed_forward(0, "m", "h")}
            y, , , z = com.microsoft.SkipSimplifiedLayerNormalization(h, r, c2)
        """
        assert placed(body) == whole_layer(0, 0)

    def test_attention_without_value_and_output_weights_does_not_take_those_of_other_layers(self) -> None:
        body = f"""
            {pre_norm_layer(0, "x", "e")}
            n = LayerNormalization(e, c3)
            [q1] q1 = MatMul(n, Wq1)
            [k1] k1 = MatMul(n, Wk1)
            {core(1, "q1", "k1", "n")}
            r = Add(e, context1)
            {feed_forward(1, "r", "h")}
            y = Add(r, h)
        """
        expected = {name: place for name, place in whole_layer(1, 1).items() if name not in {"v1", "o1"}}
        assert placed(body) == whole_layer(0, 0) | expected

    def test_layers_that_share_their_weights_are_placed_at_their_first_use(self) -> None:
        def shared(n: int, x: str, y: str) -> str:
            return re.sub(r"W(\w)\d", r"W\g<1>", post_norm_layer(n, x, y))

        assert placed(shared(0, "x", "h") + shared(1, "h", "y")) == whole_layer(0, 0)


class TestAttention:
    @pytest.mark.parametrize(
        ("between", "q", "k", "v"),
        [
            pytest.param("", "q0", "k0", "v0", id="nothing"),
            pytest.param(
                "a = Add(q0, c1)\n b = Add(c2, k0)\n d = Add(v0, c3)\n e = Mul(a, half)",
                "e",
                "b",
                "d",
                id="biases, scale",
            ),
            pytest.param("a = LayerNormalization(q0, c1)", "a", "k0", "v0", id="a norm of the query"),
            pytest.param("a = Reshape(q0, heads)\n b = Reshape(a, merged)", "b", "k0", "v0", id="Reshape"),
            pytest.param("b = Concat <axis = 1> (past, k0)", "q0", "b", "v0", id="keys of earlier tokens"),
            pytest.param(
                """a1 = Slice(q0, zero, two, last)
                a2 = Slice(q0, two, four, last)
                a3 = Neg(a2)
                a4 = Concat <axis = -1> (a3, a1)
                angle = MatMul(past, past)
                cosine = Cos(angle)
                sine = Sin(angle)
                a5 = Mul(q0, cosine)
                a6 = Mul(a4, sine)
                a = Add(a5, a6)""",
                "a",
                "k0",
                "v0",
                id="rotary positions",
            ),
        ],
    )
    def test_whatever_lies_between_projection_and_core(self, between: str, q: str, k: str, v: str) -> None:
        body = projections(0, "x") + between + core(0, q, k, v) + output(0, "y")
        assert placed(body, "float[B,S,4] x, float[B,S,4] past") == WITH_OUTPUT

    @pytest.mark.parametrize(
        "scores",
        [
            pytest.param("s = MatMul(q0, kt)\n p = Softmax(s)", id="nothing"),
            pytest.param(
                "s = MatMul(q0, kt)\n t = Mul(s, half)\n u = Add(t, mask)\n p = Softmax(u)", id="scale and mask"
            ),
            pytest.param("s = MatMul(q0, kt)\n t = Where(keep, s, low)\n p = Softmax(t)", id="a mask chosen by Where"),
            pytest.param(
                "s = com.microsoft.FusedMatMul <alpha = 0.5> (q0, kt)\n p = com.microsoft.BiasSoftmax(s, mask)",
                id="onnxruntime's fusions",
            ),
            pytest.param(
                "s = MatMul(q0, kt)\n t = Softmax(s)\n nan = IsNaN(t)\n p = Where(nan, half, t)",
                id="rows without a key",
            ),
            pytest.param("s = MatMul(q0, kt)\n t = Softmax(s)\n p = Dropout(t)", id="dropout"),
        ],
    )
    def test_whatever_happens_to_the_scores(self, scores: str) -> None:
        body = f"""
            {projections(0, "x")}
            kt = Transpose <perm = [0, 2, 1]> (k0)
            {scores}
            context0 = MatMul(p, v0)
            {output(0, "y")}
        """
        assert placed(body, "float[B,S,4] x, float[B,S,S] mask, bool[B,S,S] keep") == WITH_OUTPUT

    def test_a_relative_position_bias_is_no_part_of_it(self) -> None:
        body = f"""
            {projections(0, "x")}
            [positions] table = Gather(Wp, distance)
            bias = Transpose <perm = [2, 0, 1]> (table)
            kt = Transpose <perm = [0, 2, 1]> (k0)
            s = MatMul(q0, kt)
            t = Add(s, bias)
            p = Softmax(t)
            context0 = MatMul(p, v0)
            {output(0, "y")}
        """
        expected = {"positions": ("embedding", None), **WITH_OUTPUT}
        assert placed(body, "float[B,S,4] x, int64[S,S] distance") == expected

    def test_products_with_relative_positions_come_after_that_of_the_contents(self) -> None:
        body = f"""
            {projections(0, "x")}
            [r] r = MatMul(distances, Wr)
            kt = Transpose <perm = [0, 2, 1]> (k0)
            rt = Transpose <perm = [0, 2, 1]> (r)
            s = MatMul(q0, kt)
            by_position = MatMul(k0, rt)
            scaled = Mul(s, half)
            t = Add(by_position, scaled)
            p = Softmax(t)
            context0 = MatMul(p, v0)
            {output(0, "y")}
        """
        assert placed(body, "float[B,S,4] x, float[B,S,4] distances") == {**WITH_OUTPUT, "r": ("other", None)}

    def test_a_packed_projection(self) -> None:
        body = f"""
            [qkv] u = MatMul(x, W)
            q, k, v = Split <axis = -1, num_outputs = 3> (u)
            {core(0, "q", "k", "v")}
            {output(0, "y")}
        """
        assert placed(body) == {"qkv": ("query_key_value", 0), "o0": ("attention_output", 0)}

    def test_a_packed_key_and_value(self) -> None:
        body = f"""
            [q0] q = MatMul(x, Wq)
            [kv] u = MatMul(x, W)
            k, v = Split <axis = -1, num_outputs = 2> (u)
            {core(0, "q", "k", "v")}
            {output(0, "y")}
        """
        assert placed(body)["q0"] == ("query", 0)
        assert placed(body)["kv"] == ("query_key_value", 0)

    @pytest.mark.parametrize(
        "fused",
        [
            "Attention <q_num_heads = 2, kv_num_heads = 2>",
            "com.microsoft.MultiHeadAttention <num_heads = 2>",
            "com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 2>",
        ],
    )
    def test_a_fused_core(self, fused: str) -> None:
        body = f"{projections(0, 'x')}\n context0 = {fused} (q0, k0, v0)\n {output(0, 'y')}"
        assert placed(body) == WITH_OUTPUT

    def test_a_fused_core_with_a_packed_operand(self) -> None:
        body = f"[qkv] u = MatMul(x, W)\n context0 = com.microsoft.MultiHeadAttention <num_heads = 2> (u)\n {output(0, 'y')}"
        assert placed(body) == {"qkv": ("query_key_value", 0), "o0": ("attention_output", 0)}

    def test_a_core_that_holds_its_projections(self) -> None:
        body = f"[qkv] context0 = com.microsoft.Attention <num_heads = 2> (x, W, c1)\n {output(0, 'y')}"
        assert placed(body) == {"qkv": ("query_key_value", 0), "o0": ("attention_output", 0)}

    def test_the_softmax_of_a_classifier_is_none(self) -> None:
        assert placed("[head] a = MatMul(x, W)\n y = Softmax(a)") == {"head": ("classifier", None)}

    def test_pooling_by_softmax_weights_is_none(self) -> None:
        body = "[score] s = MatMul(x, W)\n t = Transpose <perm = [0, 2, 1]> (s)\n p = Softmax(t)\n y = MatMul(p, x)"
        assert placed(body) == {"score": ("other", None)}

    def test_weights_beyond_a_projection_that_is_skipped_are_not_taken_for_it(self) -> None:
        body = f"""
            [before] e = MatMul(x, We)
            [q0] q0 = MatMul(e, Wq)
            [v0] v0 = MatMul(e, Wv)
            quantized, scale, zero_point = DynamicQuantizeLinear(e)
            a = MatMulInteger(quantized, integers, zero_point)
            k0 = Cast <to = 1> (a)
            {core(0, "q0", "k0", "v0")}
            {output(0, "y")}
        """
        expected = {name: place for name, place in WITH_OUTPUT.items() if name != "k0"}
        assert placed(body) == {"before": ("other", None), **expected}


class TestFeedForward:
    @pytest.mark.parametrize(
        "activation",
        [
            pytest.param("g = Relu(i)", id="Relu"),
            pytest.param("g = Gelu(i)", id="Gelu"),
            pytest.param(
                "e = Mul(i, half)\n a = Erf(e)\n b = Add(a, half)\n g = Mul(i, b)", id="Gelu spelled with Erf"
            ),
            pytest.param(
                "a = Mul(i, i)\n b = Mul(a, i)\n d = Mul(b, half)\n e = Add(i, d)\n t = Tanh(e)\n u = Add(t, half)\n"
                " g = Mul(i, u)",
                id="Gelu spelled with Tanh",
            ),
            pytest.param("a = Sigmoid(i)\n g = Mul(i, a)", id="SiLU"),
            pytest.param("g = com.microsoft.BiasGelu(i, c1)", id="BiasGelu"),
            pytest.param("g = com.microsoft.FastGelu(i, c1)", id="FastGelu"),
            pytest.param("g = com.microsoft.QuickGelu(i)", id="QuickGelu"),
        ],
    )
    def test_every_activation(self, activation: str) -> None:
        body = f"[in] i = MatMul(x, Wi)\n {activation}\n [out] f = MatMul(g, Wf)\n y = Add(f, x)"
        assert placed(body) == {"in": ("ffn_in", None), "out": ("ffn_out", None)}

    def test_an_activation_fused_into_the_product(self) -> None:
        body = """
            [in] i = com.microsoft.FusedGemm <activation = "Relu"> (x, Wi)
            [out] f = Gemm(i, Wf)
            y = Add(f, x)
        """
        assert placed(body, "float[B,4] x") == {"in": ("ffn_in", None), "out": ("ffn_out", None)}

    def test_a_gate_and_what_it_gates_are_both_ffn_in(self) -> None:
        body = """
            [gate] a = MatMul(x, Wg)
            [up] u = MatMul(x, Wu)
            s = Sigmoid(a)
            b = Mul(a, s)
            g = Mul(b, u)
            [down] f = MatMul(g, Wd)
            y = Add(x, f)
        """
        assert placed(body) == {"gate": ("ffn_in", None), "up": ("ffn_in", None), "down": ("ffn_out", None)}

    def test_biases_and_reshapes_do_not_matter(self) -> None:
        body = """
            flat = Reshape(x, merged)
            [in] a = Gemm(flat, Wi, c1)
            g = Relu(a)
            [out] b = Gemm(g, Wf, c2)
            back = Reshape(b, merged)
            f = Add(c3, back)
            y = Add(f, x)
        """
        assert placed(body) == {"in": ("ffn_in", None), "out": ("ffn_out", None)}

    def test_without_a_nonlinearity_it_is_none(self) -> None:
        body = "[a] i = Gemm(x, Wi, c1)\n [b] f = Gemm(i, Wf, c2)\n y = Add(f, x)"
        assert placed(body, "float[B,4] x") == {"a": ("other", None), "b": ("classifier", None)}

    def test_a_constant_that_norms_share_is_no_stream(self) -> None:
        body = """
            m = Add(x, c1)
            [in] i = MatMul(m, Wi)
            g = Relu(i)
            [out] f = MatMul(g, Wf)
            y = Add(f, c1)
        """
        assert placed(body) == {"in": ("other", None), "out": ("classifier", None)}

    def test_without_a_way_back_to_the_stream_it_is_none(self) -> None:
        body = "[transform] i = MatMul(x, Wi)\n g = Gelu(i)\n [decoder] f = MatMul(g, Wf)\n y = Add(f, c1)"
        assert placed(body) == {"transform": ("other", None), "decoder": ("classifier", None)}
