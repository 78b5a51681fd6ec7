"""Both models run on the calibration data: what is measured for each kind of head, and the bound where there is one."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from scipy.special import expit, softmax

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import ClassLogits, Head, LabelLogits, ScoreHead, TokenEmbeddings, TokenVectors
from squeeze_onnx.evaluate.answers import read_answers
from squeeze_onnx.evaluate.certificate import Certificate
from squeeze_onnx.evaluate.certifying import certify as certify_answers
from squeeze_onnx.support.errors import ModelError
from tests.tiny_encoder import batch, encoder_model, weights_of, with_weights

CLASSES = ClassLogits("logits", (0, 1))
TOKENS = TokenEmbeddings("last_hidden_state")


def batches() -> list[CalibrationBatch]:
    feeds = batch()
    return [CalibrationBatch(feeds, feeds["attention_mask"]), CalibrationBatch(feeds, None)]


def model(changes: Mapping[str, float] | None = None, *, classifier: bool = True) -> ir.Model:
    """Return the encoder, the named weights disturbed by so much noise."""
    rng = np.random.default_rng(3)
    proto = encoder_model(classifier=classifier)
    weights = weights_of(proto)
    disturbed = {
        name: (weights[name] + size * rng.standard_normal(weights[name].shape)).astype(np.float32)
        for name, size in (changes or {}).items()
    }
    return ir.serde.deserialize_model(with_weights(proto, disturbed))


def certify(dense: ir.Model, squeezed: ir.Model, head: Head, data: Sequence[CalibrationBatch]) -> Certificate:
    return certify_answers(read_answers(dense, head, data), read_answers(squeezed, head, data), head)


def logits(found: ir.Model) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(ir.to_proto(found).SerializeToString(), providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, batch())[0]
    return output


@pytest.mark.parametrize(
    "changes",
    [{"classifier.weight": 0.1}, {"layer.1/ffn_in.weight": 0.1}, {"classifier.weight": 0.5, "pooler.weight": 0.1}],
    ids="+".join,
)
def test_class_probabilities_move_no_further_than_the_bound(changes: dict[str, float]) -> None:
    dense, squeezed = model(), model(changes)
    certificate = certify(dense, squeezed, CLASSES, batches())
    moved = np.abs(softmax(logits(dense), axis=1) - softmax(logits(squeezed), axis=1)).max(axis=1)
    assert certificate.measured is not None and certificate.bound is not None
    assert certificate.measured.worst == pytest.approx(moved.max(), rel=1e-4)
    assert 0 < certificate.measured.mean <= certificate.bound.total.mean
    assert certificate.measured.worst <= certificate.bound.total.worst
    assert certificate.bound.from_rounding.worst < 1e-5
    assert certificate.texts == 6


def test_label_probabilities_move_no_further_than_the_bound() -> None:
    dense, squeezed = model(), model({"classifier.weight": 0.5, "layer.1/ffn_in.weight": 0.1})
    certificate = certify(dense, squeezed, LabelLogits("logits"), batches())
    moved = np.abs(expit(logits(dense)) - expit(logits(squeezed))).max(axis=1)
    assert certificate.measured is not None and certificate.bound is not None
    assert certificate.measured.worst == pytest.approx(moved.max(), rel=1e-4)
    assert certificate.measured.worst <= certificate.bound.total.worst


def test_the_parts_say_where_the_change_lies() -> None:
    head_only = certify(model(), model({"classifier.weight": 0.1}), CLASSES, batches()).bound
    encoder_only = certify(model(), model({"layer.1/ffn_in.weight": 0.1}), CLASSES, batches()).bound
    assert head_only is not None and encoder_only is not None
    assert head_only.from_features.worst < 1e-5 < head_only.from_head.worst
    assert encoder_only.from_head.worst == 0 < encoder_only.from_features.worst


def test_an_unchanged_model_has_not_moved() -> None:
    certificate = certify(model(), model(), CLASSES, batches())
    assert certificate.measured is not None and certificate.bound is not None
    assert certificate.measured.worst == 0
    assert certificate.bound.total.worst < 1e-5


def test_a_regression_is_bounded_too() -> None:
    weight = np.random.default_rng(0).standard_normal((6, 1)).astype(np.float32)

    def regression(size: float) -> ir.Model:
        text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,6] x) => (float[N,1] y) { h = Tanh(x) y = MatMul(h, W) }'
        proto = onnx.parser.parse_model(text)
        proto.graph.initializer.append(onnx.numpy_helper.from_array((size * weight).astype(np.float32), "W"))
        return ir.serde.deserialize_model(proto)

    data = [CalibrationBatch({"x": np.random.default_rng(1).standard_normal((9, 6)).astype(np.float32)}, None)]
    certificate = certify(regression(1.0), regression(0.5), ScoreHead("y"), data)
    assert certificate.bound is not None and certificate.measured is not None
    assert certificate.measure == "score change"
    assert 0 < certificate.measured.worst <= certificate.bound.total.worst
    assert certificate.bound.spectral_error == pytest.approx(np.linalg.norm(weight) / 2, rel=1e-6)


def test_embeddings_are_measured_without_padding() -> None:
    changed = {"layer.0/value.weight": 0.1}
    masked, _ = batches()
    certificate = certify(model(classifier=False), model(changed, classifier=False), TOKENS, [masked])
    assert certificate.bound is None
    assert certificate.measure == "cosine distance"
    assert "no class probabilities to bound" in certificate.notes[0]
    trimmed = {name: array[2:, :4] for name, array in batch().items()}
    alone = certify(
        model(classifier=False),
        model(changed, classifier=False),
        TOKENS,
        [
            CalibrationBatch({name: array[:2] for name, array in batch().items()}, None),
            CalibrationBatch(trimmed, None),
        ],
    )
    assert certificate.measured is not None and alone.measured is not None
    assert certificate.measured.worst == pytest.approx(alone.measured.worst, rel=1e-3)
    assert certificate.measured.mean == pytest.approx(alone.measured.mean, rel=1e-3)


@pytest.mark.parametrize("per_token", [True, False])
def test_tokens_are_counted_beside_the_texts_that_they_are_of(per_token: bool) -> None:
    masked, _ = batches()
    assert masked.mask is not None
    head = TokenVectors("last_hidden_state") if per_token else TOKENS
    found = certify(model(classifier=False), model({"layer.0/value.weight": 0.1}, classifier=False), head, [masked])
    assert (found.texts, found.tokens) == (len(masked.mask), int(masked.mask.sum()) if per_token else None)
    assert ("vector for every token" in found.notes[0]) == per_token


def test_logits_that_are_not_linear_have_no_bound() -> None:
    def bounded(scale: float) -> ir.Model:
        text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x) => (float[N,2] y) { p = MatMul(x, W) y = Tanh(p) }'
        proto = onnx.parser.parse_model(text)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(scale * np.eye(2, dtype=np.float32), "W"))
        return ir.serde.deserialize_model(proto)

    data = [CalibrationBatch({"x": np.array([[1, 0]], np.float32)}, None)]
    certificate = certify(bounded(1.0), bounded(0.5), ClassLogits("y", (0, 1)), data)
    assert certificate.bound is None
    assert certificate.measured is not None and certificate.measured.worst > 0
    assert "no bound" in certificate.notes[0]


def test_refuses_answers_that_are_no_numbers() -> None:
    broken = model({"classifier.weight": float("inf")})
    with pytest.raises(ModelError, match="'logits' is NaN or infinite on the calibration data"):
        certify(model(), broken, CLASSES, batches())
