"""What the rewriter leaves besides the right outputs: names, types and shapes of what is new; after a refusal, nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.attention_heads import find_query_keys
from squeeze_onnx.graph.match.consumers import find_bias
from squeeze_onnx.graph.match.feed_forward import find_feed_forwards
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter, factor_site
from squeeze_onnx.support.errors import OptionError
from tests.graph.execution import run
from tests.graph.match import test_attention_heads
from tests.graph.tiny_graphs import initializer_names, node_named, random_weight, tiny_model

W, BIAS = random_weight(4, 6), random_weight(6, seed=2)
LEFT, RIGHT = random_weight(4, 2, seed=3), random_weight(2, 6, seed=4)
X = random_weight(5, 4, seed=1)


def value_of(model: ir.Model, name: str) -> ir.Value:
    """Return the value called ``name``."""
    every = [*model.graph.initializers.values(), *(value for node in model.graph for value in node.outputs)]
    return next(value for value in every if value.name == name)


def described(value: ir.Value) -> tuple[ir.DataType | None, list[object] | None]:
    shape = None if value.shape is None else [getattr(dim, "value", dim) for dim in value.shape]
    return value.dtype, shape


class TestProduct:
    @pytest.fixture
    def model(self) -> ir.Model:
        model = tiny_model("g (float[B,4] x) => (float[B,6] y) { [mm] h = MatMul(x, W)\n [end] y = Relu(h) }", W=W)
        factor_site(model, find_sites(model).sites[0], LEFT, RIGHT)
        return model

    def test_every_node_has_a_name(self, model: ir.Model) -> None:
        assert [node.name for node in model.graph] == ["mm/left_product", "mm", "end"]

    def test_the_first_product_has_the_shape_of_its_rows_where_that_of_the_product_is_not_known(
        self, model: ir.Model
    ) -> None:
        assert described(value_of(model, "mm/left_product")) == (ir.DataType.FLOAT, ["B", 2])

    @pytest.mark.parametrize(("name", "array"), [("mm/left", LEFT), ("mm/right", RIGHT)])
    def test_factors_have_names_types_and_shapes(self, model: ir.Model, name: str, array: np.ndarray) -> None:
        value = model.graph.initializers[name]
        assert described(value) == (ir.DataType.FLOAT, list(array.shape))
        assert value.const_value is not None
        assert value.const_value.name == name


class TestLookup:
    @pytest.fixture
    def model(self) -> ir.Model:
        model = tiny_model("g (int64[S] ids) => (float[S,6] z) { [look] y = Gather(W, ids)\n [end] z = Relu(y) }", W=W)
        look = node_named(model, "look")
        look.outputs[0].shape, look.outputs[0].type = ir.Shape(["S", 6]), ir.TensorType(ir.DataType.FLOAT)
        factor_site(model, find_sites(model).sites[0], LEFT, RIGHT)
        return model

    def test_the_product_takes_over_the_name_of_the_lookup(self, model: ir.Model) -> None:
        assert [node.name for node in model.graph] == ["look/left_lookup", "look", "end"]
        assert [node.op_type for node in model.graph] == ["Gather", "MatMul", "Relu"]

    def test_the_product_is_as_wide_as_the_lookup_was_and_that_as_the_rank(self, model: ir.Model) -> None:
        assert described(value_of(model, "y")) == (ir.DataType.FLOAT, ["S", 6])
        assert described(value_of(model, "look/left_lookup")) == (ir.DataType.FLOAT, ["S", 2])


class TestShiftedBias:
    """Two products with one bias, of which one changes."""

    GRAPH = """g (float[B,4] x) => (float[B,6] y, float[B,6] z) {
        [one] y = Gemm(x, V, c)
        [two] z = Gemm(x, W, c)
    }"""

    def model(self, dtype: type = np.float32) -> ir.Model:
        graph = self.GRAPH.replace("float[", "float16[") if dtype is np.float16 else self.GRAPH
        constants: dict[str, Any] = {"V": W, "W": random_weight(4, 6, seed=5), "c": BIAS}
        return tiny_model(graph, **{name: array.astype(dtype) for name, array in constants.items()})

    def shift(self, model: ir.Model, by: np.ndarray) -> None:
        site = find_sites(model).sites[0]
        bias = find_bias(site)
        assert bias is not None
        Rewriter(model).shift_bias(site, bias, by)

    def test_the_other_keeps_it_as_it_was(self) -> None:
        model, by = self.model(), np.arange(6.0)
        before = run(model, {"x": X})
        self.shift(model, by)
        y, z = run(model, {"x": X})
        np.testing.assert_allclose(y, before[0] + by, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(z, before[1])
        assert initializer_names(model) == ["V", "W", "c", "one/bias"]

    def test_it_keeps_its_type(self) -> None:
        model = self.model(np.float16)
        self.shift(model, np.ones(6))
        assert described(model.graph.initializers["one/bias"]) == (ir.DataType.FLOAT16, [6])

    def test_a_sum_beyond_the_range_of_the_type_is_refused(self) -> None:
        model = self.model(np.float16)
        before = ir.to_proto(model)
        with pytest.raises(OptionError, match="site 'one' would get entries that are not finite in FLOAT16"):
            self.shift(model, np.full(6, 1e6))
        assert ir.to_proto(model) == before


class TestSliced:
    @pytest.fixture
    def model(self) -> ir.Model:
        return tiny_model(
            """g (float[B,S,4] x) => (float[B,S,3] z) {
                [in] a = MatMul(x, W)
                [bias] c = Add(a, b)
                [act] h = Relu(c)
                [out] z = MatMul(h, V)
            }""",
            W=W,
            b=BIAS.astype(np.float32),
            V=random_weight(6, 3, seed=7),
        )

    def test_what_is_known_of_shapes_is_of_the_neurons_that_stay(self, model: ir.Model) -> None:
        for name in ("a", "h"):
            value_of(model, name).shape = ir.Shape(["B", "S", 6])
        [block] = find_feed_forwards(find_sites(model).sites)
        Rewriter(model).slice(block, np.array([0, 5]), block.after.weight.numpy()[[0, 5]])
        assert [described(value_of(model, name))[1] for name in "ach"] == [["B", "S", 2], None, ["B", "S", 2]]
        assert initializer_names(model) == ["in/weight", "out/vector.0", "out/weight"]
        assert described(model.graph.initializers["out/vector.0"]) == (ir.DataType.FLOAT, [2])

    def test_entries_that_are_not_finite_are_refused_and_nothing_changes(self, model: ir.Model) -> None:
        before = ir.to_proto(model)
        [block] = find_feed_forwards(find_sites(model).sites)
        with pytest.raises(OptionError, match="site 'out' would get entries that are not finite in FLOAT"):
            Rewriter(model).slice(block, np.array([0, 5]), np.full((2, 3), np.inf))
        assert ir.to_proto(model) == before


class TestNarrowed:
    @staticmethod
    def _wrong_shape(weights: dict[str, np.ndarray], biases: dict[str, np.ndarray]) -> None:
        weights.update({name: array[:, 1:] for name, array in weights.items()})

    @staticmethod
    def _weight_not_finite(weights: dict[str, np.ndarray], biases: dict[str, np.ndarray]) -> None:
        weights.update({name: array * np.nan for name, array in list(weights.items())[-1:]})

    @staticmethod
    def _bias_not_finite(weights: dict[str, np.ndarray], biases: dict[str, np.ndarray]) -> None:
        biases.update({name: array * np.nan for name, array in list(biases.items())[-1:]})

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (_wrong_shape, r"needs a weight of shape \(8, 6\), not \(8, 5\)"),
            (_weight_not_finite, "would get entries that are not finite in FLOAT"),
            (_bias_not_finite, "would get entries that are not finite in FLOAT"),
        ],
        ids=["a wrong shape", "a weight", "a bias"],
    )
    def test_is_refused_and_nothing_changes(
        self, spoil: Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None], message: str
    ) -> None:
        model = test_attention_heads.model()
        before = ir.to_proto(model)
        [block] = find_query_keys(find_sites(model).sites)
        weights, biases = test_attention_heads.in_new_bases(block, test_attention_heads.THIN)
        spoil(weights, biases)
        with pytest.raises(OptionError, match=message):
            Rewriter(model).narrow(block, test_attention_heads.HEADS * test_attention_heads.THIN, weights, biases)
        assert ir.to_proto(model) == before

    @pytest.mark.parametrize(
        "before", ["", test_attention_heads.JOINED_SPLIT], ids=["a constant shape", "a joined shape"]
    )
    def test_shapes_that_were_known_are_dropped_and_the_model_is_valid(self, before: str) -> None:
        model = test_attention_heads.model(before=before)
        value_of(model, "q1").shape = ir.Shape(["B", "S", 8])
        test_attention_heads.narrow(model, test_attention_heads.THIN)
        assert value_of(model, "q1").shape is None
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        assert all(value.name for node in model.graph for value in node.outputs)
        names = [node.name for node in model.graph if node.name]
        assert len(set(names)) == len(names)
        joined = [node for node in model.graph if node.name and "/joined_shape" in node.name]
        assert len(joined) == (3 if before else 0)
        for node in joined:
            assert described(node.outputs[0])[0] == ir.DataType.INT64
