"""Which role weights beyond the layers have, and factors of weights."""

import numpy as np
import pytest

from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site
from squeeze_onnx.support.errors import ModelError
from tests.graph.layers import (
    described,
    placed,
    post_norm_layer,
    whole_layer,
)


class TestHeads:
    @pytest.mark.parametrize(
        "pick",
        [
            pytest.param("t = Gather <axis = 1> (x, first)", id="the first token"),
            pytest.param("t = Slice(x, zero, axis1, axis1)", id="a slice of the tokens"),
            pytest.param("t = ReduceMean(x, axis1)", id="the mean of the tokens"),
            pytest.param("m = Mul(x, mask)\n s = ReduceSum(m, axis1)\n t = Div(s, half)", id="the masked mean"),
        ],
    )
    def test_between_the_choice_of_a_token_and_a_nonlinearity_is_the_pooler(self, pick: str) -> None:
        body = f"{pick}\n [dense] a = MatMul(t, Wp)\n b = Tanh(a)\n [out] y = MatMul(b, Wc)"
        inputs = "float[B,S,4] x, float[B,S,1] mask"
        assert placed(body, inputs) == {"dense": ("pooler", None), "out": ("classifier", None)}

    def test_a_pooler_whose_output_is_the_output_of_the_model(self) -> None:
        assert placed("t = Gather <axis = 1> (x, first)\n [dense] a = MatMul(t, Wp)\n y = Tanh(a)") == {
            "dense": ("pooler", None)
        }

    def test_the_mean_inside_a_norm_picks_no_token(self) -> None:
        body = "m = ReduceMean(x, last)\n t = Sub(x, m)\n [dense] a = MatMul(t, Wp)\n b = Tanh(a)\n [out] y = MatMul(b, Wc)"
        assert placed(body) == {"dense": ("other", None), "out": ("classifier", None)}

    def test_a_token_that_is_picked_and_projected_linearly(self) -> None:
        assert placed("t = Gather <axis = 1> (x, first)\n [head] y = MatMul(t, W)") == {"head": ("classifier", None)}

    def test_a_head_that_is_split_into_outputs(self) -> None:
        body = "[head] a = MatMul(x, W)\n y, z = Split <axis = -1, num_outputs = 2> (a)"
        assert placed(body, outputs="float[M] y, float[M] z") == {"head": ("classifier", None)}

    def test_a_projection_of_the_embeddings(self) -> None:
        body = f"""
            [words] e = Gather(W, ids)
            n = LayerNormalization(e, c1)
            [projection] h = MatMul(n, Wh)
            {post_norm_layer(0, "h", "y")}
        """
        expected = {"words": ("embedding", None), "projection": ("other", None), **whole_layer(0, 0)}
        assert placed(body, "int64[B,S] ids") == expected


def test_a_product_without_its_activations_is_bad_input() -> None:
    with pytest.raises(ModelError, match="MatMul 'broken' lacks a required input: export the model again"):
        placed("[broken] y = MatMul(, W)")


class TestFactoredBefore:
    def test_a_product_that_the_model_also_returns_is_no_left_factor(self) -> None:
        body = "[a] u = MatMul(x, Wa)\n [b] y = MatMul(u, Wb)"
        assert placed(body, outputs="float[M] y, float[M] u") == {"a": ("other", None), "b": ("classifier", None)}

    def test_a_weight_that_meets_its_own_products_is_no_left_factor(self) -> None:
        body = "[a] u = MatMul(x, Wa)\n [b] unused = MatMul(u, Wa)\n y = Relu(x)"
        assert placed(body) == {"a": ("other", None)}

    def test_a_product_that_another_weight_alone_meets_is_a_left_factor(self) -> None:
        assert placed("[a] u = MatMul(x, Wa)\n [b] y = MatMul(u, Wb)") == dict.fromkeys("ab", ("classifier", None))

    def test_both_factors_have_the_role_of_their_weight(self) -> None:
        body = "e = Gather(Wt, ids)\n" + post_norm_layer(0, "e", "h") + post_norm_layer(1, "h", "y")
        model = described(body, "int64[B,S] ids", "float[B,S,4] y")
        before = find_sites(model).sites
        for site in before:
            factor_site(model, site, np.ones((4, 1)), np.ones((1, 4)))
        after = find_sites(model).sites
        assert [(site.role, site.layer) for site in after if site.weight.shape == (4, 1)] == [
            (site.role, site.layer) for site in before
        ]
        assert [(site.role, site.layer) for site in after if site.weight.shape == (1, 4)] == [
            (site.role, site.layer) for site in before
        ]
