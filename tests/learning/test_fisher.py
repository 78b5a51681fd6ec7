"""Fisher information: against gradients taken sequence by sequence, and against closed forms."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.data.embedding import Activation, DenseLayer
from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
    TokenVectors,
)
from squeeze_onnx.graph.fused.fusion import fuse
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.learning.draws import drawn_loss
from squeeze_onnx.learning.fisher import FisherGraph, collect_fisher, fisher_graph
from squeeze_onnx.learning.gradients import differentiate
from squeeze_onnx.learning.losses import LOSS, attach_losses
from squeeze_onnx.spectral.fisher_moments import ElementFisher, Fisher, OutputFisher, RowFisher
from squeeze_onnx.support.errors import ModelError
from tests.graph.execution import run
from tests.graph.tiny_graphs import random_weight, tiny_model
from tests.learning.differentiation import run_gradients
from tests.tiny_encoder import HIDDEN, batch, encoder_model

CLASSIFIER = ClassLogits("logits", (0, 1))
TAGGER = TokenLogits("logits")
ENCODER = TokenEmbeddings("last_hidden_state")
VECTORS = TokenVectors("last_hidden_state")
NARROW = DenseLayer("", "", Activation.TANH, adds_input=False, weight=random_weight(HIDDEN, 5, seed=4))
COLBERT = TokenVectors("last_hidden_state", modules=(NARROW,))


def graph_of(
    model: ir.Model, sites: Sequence[MatMulSite], batches: Sequence[CalibrationBatch], head: Head, seed: int = 0
) -> FisherGraph:
    with session_showing(model, [head.output], "cpu") as session:
        return fisher_graph(model, sites, batches, head, session, seed=seed)


def model_of(head: Head) -> ir.Model:
    model: ir.Model = ir.from_proto(encoder_model(classifier=head == CLASSIFIER, tagger=head == TAGGER))
    return model


def calibration(copies: int = 1) -> list[CalibrationBatch]:
    return [CalibrationBatch(batch(), batch()["attention_mask"])] * copies


def some_sites(model: ir.Model, *names: str) -> list[MatMulSite]:
    return [site for site in find_sites(model).sites if site.name in names]


def collected(
    head: Head, names: Sequence[str], kind: type[Fisher], copies: int = 1, model: ir.Model | None = None
) -> dict[str, Fisher]:
    model = model or model_of(head)
    return collect_fisher(graph_of(model, some_sites(model, *names), calibration(copies), head, seed=3), kind)


def gradients_by_sequence(head: Head, parameters: Sequence[str], features: int) -> list[dict[str, np.ndarray]]:
    """Return the gradient of each sequence of `batch`, run alone and without its padding, with the noise of `collected`."""
    loss = drawn_loss(head)
    graph = attach_losses(model_of(head), [loss])
    shape = (3, features) if head == CLASSIFIER else (3, 7, features)
    noise = loss.draw(np.random.default_rng(3), shape)
    (text,) = calibration()
    whole = {**batch(), **graph.feeds(text, {loss.value: noise}, {loss.value: shape[:-1]})}
    adjoint = differentiate(graph.model, parameters, LOSS, whole)
    lengths = batch()["attention_mask"].sum(axis=1)
    return [
        run_gradients(
            adjoint,
            {
                name: array[row : row + 1, :length] if array.shape[1:2] == (7,) else array[row : row + 1]
                for name, array in whole.items()
            },
        )
        for row, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    ("head", "features", "site"),
    [
        (CLASSIFIER, 2, "layer.0/value"),
        (CLASSIFIER, 2, "pooler"),
        (TAGGER, 2, "layer.0/value"),
        (TAGGER, 2, "tags"),
        (ENCODER, HIDDEN, "layer.1/ffn_out"),
        (ENCODER, HIDDEN, "embedding"),
        (VECTORS, HIDDEN, "layer.1/ffn_out"),
        (COLBERT, HIDDEN, "layer.1/ffn_out"),
    ],
    ids=lambda value: getattr(value, "kind", str(value)),
)
def test_entries_and_rows_are_means_of_squared_gradients_of_single_sequences(
    head: Head, features: int, site: str
) -> None:
    squares = [np.square(each[f"{site}.weight"]) for each in gradients_by_sequence(head, [f"{site}.weight"], features)]
    expected = np.mean(squares, axis=0)
    elements, rows = (collected(head, [site], kind)[site] for kind in (ElementFisher, RowFisher))
    assert isinstance(elements, ElementFisher)
    assert isinstance(rows, RowFisher)
    np.testing.assert_allclose(elements.elements, expected, rtol=1e-3, atol=1e-5 * expected.max())
    np.testing.assert_allclose(rows.rows, expected.sum(axis=1), rtol=1e-3, atol=1e-5 * expected.sum(axis=1).max())


def test_outputs_have_the_gradients_of_their_bias_where_a_sequence_has_one_row() -> None:
    model = encoder_model(classifier=True)
    node = next(node for node in model.graph.node if "pooler" in node.input[0] or node.name == "pooler")
    bias = next(n for n in model.graph.node if n.op_type == "Add" and node.output[0] in n.input).input[1]
    gradients = np.array([each[bias] for each in gradients_by_sequence(CLASSIFIER, [bias], 2)], np.float64)
    found = collected(CLASSIFIER, ["pooler"], OutputFisher)["pooler"]
    assert isinstance(found, OutputFisher)
    np.testing.assert_allclose(found.gram, gradients.T @ gradients, rtol=1e-3, atol=1e-7)
    assert found.rows == 3


def test_at_the_logits_it_is_that_of_the_softmax() -> None:
    """E[g gᵀ] = diag(p) − p pᵀ when classes are drawn from p, whatever class the model prefers."""
    model = model_of(CLASSIFIER)
    logits = run(model, batch())[0].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.mean([np.diag(row) - np.outer(row, row) for row in p], axis=0)
    found = collected(CLASSIFIER, ["classifier"], OutputFisher, copies=400, model=model)["classifier"]
    assert isinstance(found, OutputFisher)
    np.testing.assert_allclose(found.gram / found.rows, expected, atol=0.08 * np.abs(expected).max())


def test_padding_counts_neither_as_a_row_nor_as_a_gradient() -> None:
    found = collected(ENCODER, ["layer.0/query"], OutputFisher)["layer.0/query"]
    assert isinstance(found, OutputFisher)
    assert found.rows == 7 + 7 + 4


@pytest.mark.parametrize("head", [ScoreHead("y"), SentenceEmbedding("y")], ids=lambda head: head.kind)
def test_scores_and_embeddings_have_the_noise_of_a_gaussian(head: Head) -> None:
    model = pooled_model(features=1 if isinstance(head, ScoreHead) else 4)
    found = collect_fisher(graph_of(model, some_sites(model, "linear"), [rows_batch()] * 400, head), OutputFisher)[
        "linear"
    ]
    assert isinstance(found, OutputFisher)
    assert found.gram.shape == ((1, 1) if isinstance(head, ScoreHead) else (4, 4))
    if isinstance(head, ScoreHead):  # g = ε
        assert found.gram[0, 0] / found.rows == pytest.approx(1, abs=0.1)
    else:  # g is ε across the embedding, over its norm: three directions of variance 1/‖f‖² a row
        norms = np.square(rows_batch().feeds["x"] @ LINEAR).sum(axis=1)
        assert np.trace(found.gram) / found.rows == pytest.approx(np.mean(3 / norms), rel=0.1)


LINEAR = np.random.default_rng(5).standard_normal((8, 4)).astype(np.float32)


def pooled_model(features: int) -> ir.Model:
    """x (rows, 8) @ W (8, features) = y, with ``alpha`` 1 of a Gemm."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "W"], ["y"], name="linear")],
        "pooled",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 8])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", features])],
        [numpy_helper.from_array(LINEAR[:, :features].copy(), "W")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model: ir.Model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8))
    return model


def rows_batch() -> CalibrationBatch:
    rows = np.random.default_rng(6).standard_normal((5, 8)).astype(np.float32)
    return CalibrationBatch({"x": rows}, None)


def test_a_scale_of_the_operator_is_in_the_gradient_of_the_product() -> None:
    plain, scaled = pooled_model(4), pooled_model(4)
    next(iter(scaled.graph)).attributes.add(ir.AttrFloat32("alpha", 3.0))
    grams = []
    for model in (plain, scaled):
        head = ScoreHead("y")
        found = collect_fisher(graph_of(model, some_sites(model, "linear"), [rows_batch()], head, seed=1), OutputFisher)
        fisher = found["linear"]
        assert isinstance(fisher, OutputFisher)
        grams.append(fisher.gram)
    np.testing.assert_allclose(grams[1], 9 * grams[0], rtol=1e-5)


def test_the_same_seed_draws_the_same_answers() -> None:
    model, site = model_of(ENCODER), "layer.0/query"
    first, again, other = (
        collect_fisher(graph_of(model, some_sites(model, site), calibration(), ENCODER, seed=seed), RowFisher)[site]
        for seed in (8, 8, 9)
    )
    assert isinstance(first, RowFisher)
    assert isinstance(again, RowFisher)
    assert isinstance(other, RowFisher)
    np.testing.assert_array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)


def test_half_the_weighted_error_is_what_the_answer_really_moves_by() -> None:
    """½ tr of the weighted error, against the divergence of class probabilities under small random changes of the pooler."""
    model = model_of(CLASSIFIER)
    site = some_sites(model, "pooler")[0]
    fisher = collected(CLASSIFIER, ["pooler"], OutputFisher, copies=300)["pooler"]
    assert isinstance(fisher, OutputFisher)
    weight = site.weight.numpy()
    rng = np.random.default_rng(9)
    logits = run(model, batch())[0].astype(np.float64)
    rows = pooler_rows()
    moved, expected = [], []
    for _ in range(40):
        change = (1e-2 * rng.standard_normal(weight.shape)).astype(np.float32)
        other = model_of(CLASSIFIER)
        tensor = other.graph.initializers["pooler.weight"]
        tensor.const_value = ir.tensor(weight + change, name="pooler.weight")
        moved.append(divergence(logits, run(other, batch())[0].astype(np.float64)))
        gradient = fisher.gram / fisher.rows
        expected.append(0.5 * np.trace(change.T @ (rows.T @ rows / len(rows)) @ change @ gradient))
    assert np.mean(moved) == pytest.approx(np.mean(expected), rel=0.35)


def pooler_rows() -> np.ndarray:
    encoder = ir.from_proto(encoder_model())
    return np.asarray(run(encoder, batch())[0][:, 0].astype(np.float64))


def divergence(expected: np.ndarray, found: np.ndarray) -> float:
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (expected, found))
    return float(np.mean(np.sum(p * np.log(p / q), axis=1)))


@pytest.mark.parametrize("kind", [OutputFisher, RowFisher, ElementFisher])
def test_a_site_that_the_answer_does_not_depend_on_counts_evenly(kind: type[Fisher]) -> None:
    aside = encoder_model()
    aside.graph.node.append(onnx.helper.make_node("MatMul", ["last_hidden_state", "aside.weight"], ["y"], name="aside"))
    aside.graph.initializer.append(numpy_helper.from_array(np.ones((HIDDEN, 2), np.float32), "aside.weight"))
    aside.graph.output.append(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None))
    found = collected(ENCODER, ["aside", "layer.0/query"], kind, model=ir.from_proto(aside))["aside"]
    match found:
        case OutputFisher():
            np.testing.assert_array_equal(found.gram / found.rows, np.eye(2))
        case RowFisher():
            np.testing.assert_array_equal(found.rows, np.ones(HIDDEN))
        case ElementFisher():
            np.testing.assert_array_equal(found.elements, np.ones((HIDDEN, 2)))


def test_patches_of_an_image_belong_to_it_and_all_of_them_count() -> None:
    model = tiny_model(
        "g (float[B,3,4,6] x) => (float[B,2] logits) { c = Conv<strides=[2,2]>(x, K) r = Reshape(c, s)"
        " t = Transpose<perm=[0,2,1]>(r) [up] h = MatMul(t, W) a = Tanh(h)"
        " m = ReduceMean<keepdims=0>(a, one) logits = MatMul(m, C) }",
        K=random_weight(5, 3, 2, 2),
        s=np.array([0, 5, -1]),
        W=random_weight(5, 4),
        C=random_weight(4, 2),
        one=np.array([1]),
    )
    images = CalibrationBatch({"x": random_weight(3, 3, 4, 6, seed=3)}, None)
    found = collect_fisher(graph_of(model, some_sites(model, "up"), [images], CLASSIFIER), OutputFisher)["up"]
    assert isinstance(found, OutputFisher)
    assert found.rows == 3 * 6


def test_tokens_may_come_before_sequences() -> None:
    """The same model with its tokens first has the same Fisher information, row by row and entry by entry, padding left out."""
    mask = np.ones((3, 6), np.int64)
    mask[1, 4:] = 0
    texts = CalibrationBatch({"ids": np.arange(18).reshape(3, 6) % 7, "attention_mask": mask}, mask)

    def fisher(*, tokens_first: bool) -> np.ndarray:
        turn, axis = ("Transpose<perm=[1,0,2]>", 0) if tokens_first else ("Identity", 1)
        model = tiny_model(
            f"g (int64[B,T] ids, int64[B,T] attention_mask) => (float[B,2] logits) {{ e = Gather(E, ids) x = {turn}(e)"
            f" [up] h = MatMul(x, W) a = Tanh(h) f = Cast<to=1>(attention_mask) u = Unsqueeze(f, two) w = {turn}(u)"
            " k = Mul(a, w) m = ReduceSum<keepdims=0>(k, axis) logits = MatMul(m, C) }",
            E=random_weight(7, 5),
            W=random_weight(5, 4),
            C=random_weight(4, 2),
            two=np.array([2]),
            axis=np.array([axis]),
        )
        found = collect_fisher(graph_of(model, some_sites(model, "up"), [texts], CLASSIFIER), ElementFisher)["up"]
        assert isinstance(found, ElementFisher)
        return found.elements

    np.testing.assert_allclose(fisher(tokens_first=True), fisher(tokens_first=False), rtol=1e-4)


class TestRefusals:
    def test_a_gradient_that_is_not_finite(self) -> None:
        model = model_of(ENCODER)
        weight = model.graph.initializers["layer.0/value.weight"]
        weight.const_value = ir.tensor(np.full((HIDDEN, HIDDEN), np.nan, np.float32), name=str(weight.name))
        with pytest.raises(ModelError, match=r"the gradient at node layer\.0/query is NaN or infinite"):
            collected(ENCODER, ["layer.0/query"], OutputFisher, model=model)


def test_embeddings_of_positions_count_once_a_batch() -> None:
    """Their gradient is the sum over the sequences, whose second moment is that of all of them, drawn independently."""
    sequences, tokens, classes = 5, 4, 2
    rng = np.random.default_rng(7)
    head = rng.standard_normal((8, classes)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Gather", ["table", "places"], ["position"], name="position"),
            onnx.helper.make_node("Add", ["x", "position"], ["placed"]),
            onnx.helper.make_node("ReduceMean", ["placed"], ["mean"], axes=[1], keepdims=0),
            onnx.helper.make_node("MatMul", ["mean", "head"], ["logits"], name="head"),
        ],
        "placed",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["sequences", tokens, 8])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["sequences", classes])],
        [
            numpy_helper.from_array(rng.standard_normal((16, 8)).astype(np.float32), "table"),
            numpy_helper.from_array(np.arange(tokens)[np.newaxis], "places"),
            numpy_helper.from_array(head, "head"),
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model: ir.Model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8))
    x = rng.standard_normal((sequences, tokens, 8)).astype(np.float32)
    batches = [CalibrationBatch({"x": x}, np.ones((sequences, tokens), np.int64))] * 1000
    found = collect_fisher(graph_of(model, some_sites(model, "position"), batches, CLASSIFIER), OutputFisher)[
        "position"
    ]
    assert isinstance(found, OutputFisher)
    assert found.rows == 1000 * tokens
    logits = run(model, {"x": x})[0].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    softmax = np.sum([np.diag(row) - np.outer(row, row) for row in p], axis=0)
    expected = head @ softmax @ head.T / tokens**2
    np.testing.assert_allclose(found.gram / found.rows, expected, atol=0.1 * np.abs(expected).max())


def test_of_a_weight_inside_a_fused_attention_is_refused() -> None:
    model = model_of(CLASSIFIER)
    fuse(model, "cpu")
    sites = [site for site in find_sites(model).sites if site.role == "query_key_value"]
    with pytest.raises(ModelError, match="multiplies with its weight inside an attention"):
        graph_of(model, sites, calibration(), CLASSIFIER)
