import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.fused.fusion import count_fused, fuse
from squeeze_onnx.graph.match.token_stream import find_token_stream
from squeeze_onnx.support.errors import ModelError
from tests.graph.execution import run
from tests.graph.token_streams import Rotating, SizedPreNorm, model_of, pruned, stream_models
from tests.tiny_encoder import Builder, batch, encoder_model

MODELS = stream_models()
FEEDS = batch()
TEXT = FEEDS["attention_mask"].astype(bool)


def answers(model: ir.Model, feeds: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Run ``model``, an output a token without padding."""
    feeds = FEEDS if feeds is None else feeds
    found = run(model, feeds)[0]
    return found[feeds["attention_mask"].astype(bool)] if found.ndim == 3 else found


@pytest.mark.parametrize("name", MODELS)
def test_all_tokens_in_the_order_of_their_scores_give_the_answers_of_the_model(name: str) -> None:
    model, _ = pruned(MODELS[name], {0: 1.0, 1: 1.0})
    np.testing.assert_allclose(answers(model), answers(MODELS[name]), atol=2e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rates", [{0: 0.5}, {0: 0.75, 1: 0.25}, {0: 0.01, 1: 0.01}], ids=str)
def test_a_text_has_the_same_answer_alone_and_padded_in_a_batch(name: str, rates: dict[int, float]) -> None:
    model, kept = pruned(MODELS[name], rates)
    together, whole = run(model, FEEDS)[0], run(MODELS[name], FEEDS)[0]
    assert together.shape == whole.shape
    assert np.abs(together - whole).max() > 1e-3, "tokens are gone"
    assert len(kept) == len(rates)
    for text in (0, 2):
        length = TEXT[text].sum()
        alone = run(model, {name: each[text : text + 1, :length] for name, each in FEEDS.items()})[0][0]
        np.testing.assert_allclose(together[text, :length] if together.ndim == 3 else together[text], alone, atol=1e-5)


def test_a_token_that_is_gone_keeps_its_last_state_scaled_and_shifted() -> None:
    model = MODELS["encoder"]
    state = find_token_stream(model.graph).steps[0].state
    shown = model.clone()
    shown.graph.outputs[:] = [value for node in shown.graph for value in node.outputs if value.name == state.name]
    shown.graph.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    expected = run(shown, FEEDS)[0][TEXT]

    found = answers(pruned(model, {0: 0.01})[0])
    gone = np.ones(len(found), bool)
    gone[np.cumsum([0, *TEXT.sum(axis=1)[:-1]])] = False
    np.testing.assert_allclose(found[gone], expected[gone], atol=1e-5)
    assert np.abs(found - expected)[~gone].max(axis=1).min() > 1e-3, "the first tokens go on"

    two = ir.Value(name="two", const_value=ir.tensor(np.full(32, 2, np.float32), name="two"))
    copy = model.clone()
    copy.graph.register_initializer(two)
    by_two = answers(pruned_with(copy, "two"))
    np.testing.assert_allclose(by_two[gone], 2 * expected[gone] + 2, atol=1e-5)


def pruned_with(model: ir.Model, name: str) -> ir.Model:
    """Prune ``model`` in place; what is gone is scaled and shifted by the initializer of this ``name``."""
    from squeeze_onnx.compress.tokens.axes import axes_of
    from squeeze_onnx.graph.rewrite.fewer_tokens import Cut, prune_tokens
    from squeeze_onnx.graph.rewrite.insertion import Inserter

    value = model.graph.initializers[name]
    cut = Cut(Inserter(model).constant(np.array(0.01, np.float32)), value, value)
    prune_tokens(model, find_token_stream(model.graph), {0: cut}, axes_of(model, FEEDS))
    return model


def test_a_graph_without_a_mask_keeps_so_much_of_all_tokens() -> None:
    model = MODELS["encoder"].clone()
    mask = model.graph.inputs[1]
    ones = ir.tensor(np.ones((1, 1), np.int64), name="ones")
    value = ir.Value(name="ones", const_value=ones, type=ir.TensorType(ones.dtype), shape=ir.Shape([1, 1]))
    model.graph.register_initializer(value)
    mask.replace_all_uses_with(value)
    model.graph.inputs.remove(mask)
    feeds = {"input_ids": FEEDS["input_ids"]}
    whole, _ = pruned(model, {0: 1.0})
    np.testing.assert_allclose(run(whole, feeds)[0], run(model, feeds)[0], atol=2e-5)
    half, _ = pruned(model, {0: 0.5})
    changed = np.abs(run(half, feeds)[0] - run(model, feeds)[0]).max(axis=-1) > 0
    assert changed.all()


def test_an_answer_of_the_first_token_needs_no_other_behind_the_last_attention_and_none_put_back() -> None:
    model, _ = pruned(MODELS["classifier"], {1: 0.01})
    np.testing.assert_allclose(answers(model), answers(MODELS["classifier"]), atol=2e-5)
    assert all(node.op_type != "ScatterND" for node in model.graph)


def test_hidden_states_that_are_shown_cannot_have_fewer_tokens() -> None:
    model = model_of(Builder(np.float32), hidden=True)
    with pytest.raises(ModelError, match=r"the output 'v.*' shows Add .* fewer tokens: export the model without it"):
        pruned(model, {0: 0.5})


def test_inputs_of_a_fixed_length_are_refused() -> None:
    model = ir.from_proto(encoder_model())
    model.graph.inputs[0].shape = ir.Shape(["batch", 7])
    with pytest.raises(ModelError, match=r"'input_ids' is not .texts, tokens. with any number of both"):
        pruned(model, {0: 0.5})


def test_norms_in_front_and_behind_have_their_own_state_and_end() -> None:
    behind, front = (
        find_token_stream(model.graph) for model in (MODELS["encoder"], model_of(SizedPreNorm(np.float32)))
    )
    for stream, op in ((behind, "LayerNormalization"), (front, "Add")):
        assert [step.layer for step in stream.steps] == [0, 1]
        assert {value.producer().op_type for value in (*(step.state for step in stream.steps), stream.end)} == {op}  # type: ignore[union-attr]


def test_a_model_that_knows_where_tokens_stand_answers_otherwise_when_they_are_reordered() -> None:
    model = model_of(Rotating(np.float32))
    assert np.abs(answers(pruned(model, {0: 1.0})[0]) - answers(model)).max() > 1e-2


def test_fusing_leaves_the_attention_whose_probabilities_choose_tokens() -> None:
    model, _ = pruned(MODELS["encoder"], {0: 0.5})
    expected = answers(model)
    fuse(model, "cpu")
    assert count_fused(model)["Attention"] == 1
    np.testing.assert_allclose(answers(model), expected, atol=2e-5)
