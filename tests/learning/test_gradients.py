"""Gradients of whole graphs: against finite differences, against autograd on real exports, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.learning.emitter import Emitter
from squeeze_onnx.learning.gradients import differentiate
from squeeze_onnx.learning.parameters import learnable_parameters
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import ModelError, OptionError
from tests.architectures import ARCHITECTURES, exported_models, padded_batch
from tests.graph.execution import run
from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.learning.differentiation import gradients, run_gradients
from tests.tiny_encoder import batch, encoder_model

PLAIN = ["bert", "distilbert", "roberta", "mpnet", "albert", "electra", "gpt2", "llama", "modernbert", "phi"]


def with_loss(model: ir.Model) -> ir.Model:
    """Return ``model`` with the sum of the cubes of its first output as its only output, ``loss``.

    Of squares a layer normalization would hardly change the sum.
    """
    emit, output = Emitter(model, "test"), model.graph.outputs[0]
    loss = emit("ReduceSum", emit("Mul", emit("Mul", output, output), output), keepdims=0)
    loss.name, loss.type, loss.shape = "loss", ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
    model.graph.outputs[:] = [loss]
    return model


def encoder(*, classifier: bool = False) -> ir.Model:
    return with_loss(ir.from_proto(encoder_model(classifier=classifier)))


def other_batch() -> dict[str, np.ndarray]:
    """More and shorter sequences than `batch` has."""
    return {name: np.concatenate([array[:, :4]] * 2) for name, array in batch().items()}


class TestDifferentiate:
    @pytest.mark.parametrize("classifier", [False, True], ids=["token embeddings", "class logits"])
    def test_agrees_with_finite_differences(self, classifier: bool) -> None:
        model = encoder(classifier=classifier)
        names = learnable_parameters(model, ["loss"])
        graph = differentiate(model, names, "loss", batch())
        session = open_session(ir.to_proto(graph.model).SerializeToString())
        found = run_gradients(graph, batch())
        rng = np.random.default_rng(0)
        largest = max(float(np.linalg.norm(gradient)) for gradient in found.values())

        def loss(step: float, direction: dict[str, np.ndarray]) -> float:
            moved = {name: entries + step * direction[name] for name, entries in graph.parameters.items()}
            return float(session.run(["loss"], {**batch(), **moved})[0])

        for name in names:
            direction = {other: np.zeros_like(entries) for other, entries in found.items()}
            towards = found[name] + np.linalg.norm(found[name]) * rng.standard_normal(found[name].shape) / 10
            direction[name] = (towards / max(float(np.linalg.norm(towards)), 1e-9)).astype(np.float32)
            slope = (loss(5e-3, direction) - loss(-5e-3, direction)) / 1e-2
            assert slope == pytest.approx(float(np.vdot(found[name], direction[name])), rel=1e-2, abs=1e-4 * largest)

    def test_holds_for_batches_of_any_size(self) -> None:
        names = learnable_parameters(encoder(), ["loss"])
        here, there = (gradients(encoder(), names, batch(), traced=traced) for traced in (batch(), other_batch()))
        for name in names:
            np.testing.assert_array_equal(here[name], there[name])

    def test_is_traced_on_a_single_sequence_as_well(self) -> None:
        names = learnable_parameters(encoder(), ["loss"])
        one = {name: array[:1] for name, array in batch().items()}
        here, there = (gradients(encoder(), names, batch(), traced=traced) for traced in (batch(), one))
        for name in names:
            np.testing.assert_array_equal(here[name], there[name])

    def test_leaves_the_model_and_its_outputs(self) -> None:
        model = encoder()
        before = ir.to_proto(model).SerializeToString()
        graph = differentiate(model, ["layer.0/query.weight"], "loss", batch())
        assert ir.to_proto(model).SerializeToString() == before
        assert run(graph.model, {**batch(), **graph.parameters})[0] == pytest.approx(run(model, batch())[0], rel=1e-4)

    def test_goes_no_further_than_the_parameters(self) -> None:
        def added(*names: str) -> int:
            return sum(1 for _ in differentiate(encoder(), names, "loss", batch()).model.graph)

        assert added("layer.1/ffn_out.weight") < added("layer.1/query.weight") < added("layer.0/query.weight")

    def test_of_a_weight_is_one_product_of_two_matrices(self) -> None:
        model = tiny_model(
            "g (float[B,T,4] x) => (float loss) { y = MatMul(x, W) loss = ReduceSum<keepdims=0>(y) }",
            W=random_weight(4, 6),
        )
        graph = differentiate(model, ["W"], "loss", {"x": random_weight(2, 3, 4)}).model.graph
        assert [node.op_type for node in graph].count("Gemm") == 1
        assert [node.op_type for node in graph].count("MatMul") == 1

    def test_gives_parameters_that_share_a_gradient_one_each(self) -> None:
        model = tiny_model(
            "g (float[B,4] x) => (float loss) { a = Add(x, p) b = Add(a, q) loss = ReduceSum<keepdims=0>(b) }",
            p=random_weight(4),
            q=random_weight(4),
        )
        graph = differentiate(model, ["p", "q"], "loss", {"x": random_weight(2, 4)})
        assert len(set(graph.gradients.values())) == 2


class TestRefuses:
    def test_an_operator_without_a_rule(self) -> None:
        model = tiny_model(
            "g (float[B,4] x) => (float loss) { a = Mul(x, p) [wave] y = Atan(a) loss = ReduceSum<keepdims=0>(y) }",
            p=random_weight(4),
        )
        with pytest.raises(
            ModelError, match="Atan 'wave' has no rule of differentiation, so nothing can be learned through"
        ):
            gradients(model, ["p"], {"x": random_weight(2, 4)})

    def test_an_operand_that_has_no_slope(self) -> None:
        model = tiny_model(
            "g (float[B,4] x) => (float loss)"
            " { [norm] y = BatchNormalization(x, one, one, p, one) loss = ReduceSum<keepdims=0>(y) }",
            p=random_weight(4),
            one=np.ones(4, np.float32),
        )
        with pytest.raises(ModelError, match="BatchNormalization 'norm' cannot be differentiated by its operand 3"):
            gradients(model, ["p"], {"x": random_weight(2, 4)})

    @pytest.mark.parametrize(
        ("parameter", "message"),
        [
            ("nothing", "'nothing' cannot be learned: it is no float32 initializer"),
            ("i", "'i' cannot be learned: it is no float32 initializer"),
            ("q", "the loss does not depend on parameter 'q'"),
        ],
    )
    def test_what_is_no_parameter(self, parameter: str, message: str) -> None:
        model = tiny_model(
            "g (float[B,4] x) => (float loss, float[B,4] z)"
            " { z = Mul(x, q) a = Gather<axis=1>(x, i) loss = ReduceSum<keepdims=0>(a) }",
            q=random_weight(4),
            i=np.array([1]),
        )
        with pytest.raises(OptionError, match=message):
            gradients(model, [parameter], {"x": random_weight(2, 4)})

    def test_an_old_opset(self) -> None:
        model = tiny_model("g (float[B,4] x) => (float[B,4] loss) { loss = Mul(x, p) }", opset=13, p=random_weight(4))
        with pytest.raises(ModelError, match="learning needs opset 16 or later, the model has 13"):
            gradients(model, ["p"], {"x": random_weight(2, 4)})


class TestParameters:
    def test_are_what_the_values_depend_on_without_tables(self) -> None:
        model = ir.from_proto(encoder_model(classifier=True))
        names = learnable_parameters(model, ["logits"])
        assert {"layer.0/query.weight", "pooler.weight", "classifier.weight"} <= set(names)
        assert "embedding.weight" not in names
        hidden = learnable_parameters(model, [str(model.graph.node("pooler").inputs[0].name)])
        assert set(names) - set(hidden) >= {"pooler.weight", "classifier.weight"}

    def test_are_no_constants_of_formulas(self) -> None:
        model = tiny_model(
            "g (float[B,4] x) => (float[B,4] y) { a = Mul(x, half) y = Add(a, p) }",
            half=np.float32(0.5),
            p=random_weight(4),
        )
        assert learnable_parameters(model, ["y"]) == ("p",)

    def test_are_no_frequencies_of_rotations(self) -> None:
        rotary = (
            " n = Shape<start=1,end=2>(x) end = Squeeze(n) r = Range(zero, end, one) places = Cast<to=1>(r)"
            " column = Unsqueeze(places, last) angles = Mul(column, frequencies) c = Cos(angles) s = Sin(angles)"
            " a = MatMul(x, W) b = Mul(a, c) d = Mul(a, s) y = Add(b, d) "
        )
        model = tiny_model(
            f"g (float[B,T,4] x) => (float[B,T,4] y) {{ {rotary} }}",
            frequencies=random_weight(1, 4),
            W=random_weight(4, 4),
            zero=np.array(0),
            one=np.array(1),
            last=np.array([1]),
        )
        assert learnable_parameters(model, ["y"]) == ("W",)

    def test_are_no_tables_of_positions_and_no_biases_of_scores(self) -> None:
        model = tiny_model(
            "g (float[B,3,4] x) => (float[B,3,4] y) { a = Add(x, table) b = Mul(a, cosines) t = Transpose(W) c = MatMul(b, t)"
            " k = Transpose<perm=[0,2,1]>(c) s = MatMul(c, k) m = Add(s, mask) p = Softmax(m) d = MatMul(p, c)"
            " e = Mul(d, scale) part = Slice(long, start, end) f = Add(e, part) y = RotaryEmbedding<num_heads=1>(f, cos, sin) }",
            opset=23,
            table=random_weight(1, 3, 4),
            cosines=random_weight(3, 4),
            mask=random_weight(3, 3),
            W=random_weight(4, 4),
            scale=random_weight(1, 1, 4),
            long=random_weight(9, 4),
            start=np.array([0]),
            end=np.array([3]),
            cos=random_weight(1, 3, 2),
            sin=random_weight(1, 3, 2),
        )
        assert learnable_parameters(model, ["y"]) == ("W", "scale")

    def test_are_what_the_values_change_smoothly_with(self) -> None:
        model = tiny_model(
            "g (float[B,4] x) => (float[B,4] y) { a = Mul(x, p) c = Greater(a, zero) f = Cast<to=1>(c) y = Mul(f, q) }",
            p=random_weight(4),
            q=random_weight(4),
            zero=np.float32(0),
        )
        assert learnable_parameters(model, ["y"]) == ()

    def test_are_those_of_images_of_integers(self) -> None:
        model = tiny_model(
            "g (uint8[B,3,4,4] pixels) => (float[B,2,2,2] y) { x = Cast<to=1>(pixels) y = Conv<strides=[2,2]>(x, W, b) }",
            W=random_weight(2, 3, 2, 2),
            b=random_weight(2),
        )
        assert learnable_parameters(model, ["y"]) == ("W", "b")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PLAIN)
def test_agrees_with_autograd_on_what_exporters_write(name: str, model_cache: Path) -> None:
    """The parameters are told by their entries: exporters rename and transpose them."""
    path = exported_models(model_cache) / name / "optimum.onnx"
    model = with_loss(load_model(path).ir)
    parameters = learnable_parameters(model, ["loss"])
    found = gradients(model, parameters, padded_batch(path))
    expected = _autograd(name, padded_batch(path))
    compared = 0
    # The gradient of a key's bias is zero but for rounding: softmax does not feel it.
    rounding = 1e-6 * max(float(np.linalg.norm(gradient)) for gradient in found.values())
    for parameter in parameters:
        entries = model.graph.initializers[parameter].const_value
        assert entries is not None
        twin = expected.get(entries.numpy().tobytes())
        if twin is not None:
            compared += 1
            error = float(np.linalg.norm(found[parameter] - twin))
            assert error <= 1e-4 * np.linalg.norm(twin) + rounding, parameter
    assert compared >= 0.8 * len(parameters)


def _autograd(name: str, feeds: dict[str, np.ndarray]) -> dict[bytes, np.ndarray]:
    """Return torch's gradients by the entries of the parameter, in both orientations; without tables, which may be tied."""
    import torch

    model: Any = ARCHITECTURES[name].create()
    output = model(**{key: torch.tensor(value) for key, value in feeds.items()})[0]
    (output**3).sum().backward()
    tables = {module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    found = {}
    for parameter in set(model.parameters()) - tables:
        if parameter.grad is not None:
            entries, gradient = parameter.detach().numpy(), parameter.grad.numpy()
            found[np.ascontiguousarray(entries.T).tobytes()] = gradient.T
            found[entries.tobytes()] = gradient
    return found
