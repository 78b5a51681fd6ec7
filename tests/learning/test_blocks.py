"""Layers of the tiny encoder as models of their own: where they end, what they read, what learns in them."""

from itertools import chain
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze_onnx.data.calibration import session_showing
from squeeze_onnx.learning.blocks import BlockSearch, Prefix, find_blocks
from squeeze_onnx.learning.distillation_losses import hidden_states
from squeeze_onnx.learning.parameters import learnable_parameters, put_entries, read_entries
from tests.learning.test_distill import dense, squeezed, text
from tests.tiny_encoder import encoder_model


def search(proto: onnx.ModelProto) -> BlockSearch:
    model: ir.Model = ir.from_proto(proto)
    return find_blocks(model, hidden_states(dense()))


def weight_of(model: onnx.ModelProto, node: str) -> str:
    return next(str(each.input[1]) for each in model.graph.node if each.name == node)


def result_of(model: onnx.ModelProto, node: str) -> onnx.NodeProto:
    """Return the addition of the bias to the product ``node``."""
    product = next(each.output[0] for each in model.graph.node if each.name == node)
    return next(each for each in model.graph.node if product in each.input)


def test_a_block_ends_with_the_residual_stream_after_a_layer() -> None:
    found = find_blocks(squeezed(), hidden_states(dense()))
    states = hidden_states(dense())
    assert found.reason is None
    # The second layer adds to the stream twice.
    assert [(block.layer, block.output) for block in found.blocks] == [(0, states[0]), (1, states[2])]


def test_the_second_block_reads_the_stream_and_the_mask() -> None:
    model = squeezed()
    first, second = find_blocks(model, hidden_states(dense())).blocks
    assert set(first.part.inputs) == {"input_ids", "attention_mask"}
    assert first.output in second.part.inputs
    (mask,) = set(second.part.inputs) - {first.output}
    assert learnable_parameters(model, [mask]) == ()


def test_every_weight_learns_in_one_block() -> None:
    model = squeezed()
    blocks = find_blocks(model, hidden_states(dense())).blocks
    learned = list(chain.from_iterable(block.parameters for block in blocks))
    assert len(learned) == len(set(learned))
    assert set(learned) == set(learnable_parameters(model, [blocks[-1].output]))


def test_a_weight_of_two_layers_learns_in_no_block() -> None:
    model = encoder_model()
    tied = weight_of(model, "layer.0/ffn_in")
    next(each for each in model.graph.node if each.name == "layer.1/ffn_in").input[1] = tied
    first, second = search(model).blocks
    assert tied not in first.parameters + second.parameters
    assert weight_of(model, "layer.0/ffn_out") in first.parameters


def test_a_weight_behind_an_identity_is_known_to_be_shared() -> None:
    model = encoder_model()
    tied = weight_of(model, "layer.0/ffn_in")
    model.graph.node.insert(0, onnx.helper.make_node("Identity", [tied], ["again"]))
    next(each for each in model.graph.node if each.name == "layer.1/ffn_in").input[1] = "again"
    assert not any(tied in block.parameters for block in search(model).blocks)


def test_a_weight_that_the_head_uses_too_learns_in_no_block() -> None:
    model = encoder_model(classifier=True)
    tied = weight_of(model, "layer.1/query")
    next(each for each in model.graph.node if each.name == "pooler").input[1] = tied
    assert not any(tied in block.parameters for block in search(model).blocks)


def test_layers_between_which_two_learned_values_go_on_are_no_blocks() -> None:
    model = encoder_model()
    late = result_of(model, "layer.1/ffn_out")
    late.input[1] = result_of(model, "layer.0/attention_output").output[0]  # in place of a bias
    found = search(model)
    assert found == BlockSearch((), "its layers cannot be told apart: no single value leads from one to the next")


def test_a_single_layer_is_no_block() -> None:
    model: ir.Model = ir.from_proto(encoder_model(layers=1))
    found = find_blocks(model, hidden_states(model))
    assert (found.blocks, found.reason is None) == ((), False)


def test_without_float32_weights_there_is_nothing_to_learn() -> None:
    found = search(encoder_model(dtype=np.float16))
    assert found == BlockSearch((), "no float32 weight belongs to one layer alone")


@pytest.mark.parametrize("changed", [False, True], ids=["as squeezed", "as learned"])
def test_a_block_reads_what_the_blocks_before_it_leave(tmp_path: Path, changed: bool) -> None:
    student = squeezed()
    blocks = find_blocks(student, hidden_states(dense())).blocks
    prefix = Prefix(student, blocks, text(), tmp_path)
    if changed:
        put_entries(student, {name: 1.5 * array for name, array in read_entries(student, blocks[0].parameters).items()})
    prefix.advance_to(1)
    names = blocks[1].part.inputs
    with session_showing(student, names, "cpu") as session:
        for index, batch in enumerate(text()):
            found = prefix.read(index, names)
            for name, expected in zip(names, session.run(names, batch.feeds), strict=True):
                np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)
