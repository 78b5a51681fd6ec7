"""Inputs made up from what a graph declares run it, whatever kind of model it is."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from squeeze_onnx.data.made_up_inputs import made_up_batches
from tests.tiny_encoder import VOCABULARY, encoder_model

Input = tuple[str, int, Sequence[int | str | None] | None]


def model_of(*inputs: Input) -> ir.Model:
    values = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    nodes = [helper.make_node("Identity", [name], [f"{name}/out"]) for name, _, _ in inputs]
    outputs = [helper.make_tensor_value_info(f"{name}/out", kind, shape) for name, kind, shape in inputs]
    model: ir.Model = ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", values, outputs), ir_version=8))
    return model


def first(*inputs: Input) -> dict[str, np.ndarray]:
    return dict(next(iter(made_up_batches(model_of(*inputs)))).feeds)


def test_ids_are_known_to_the_model_and_nothing_is_masked() -> None:
    model = ir.from_proto(encoder_model())
    batch = next(iter(made_up_batches(model)))
    ids, mask = batch.feeds["input_ids"], batch.feeds["attention_mask"]
    assert ids.shape == mask.shape and ids.shape[0] > 1
    assert 0 <= ids.min() < ids.max() < VOCABULARY
    assert (mask == 1).all()
    assert batch.mask is mask


def test_types_and_positions_are_what_a_tokenizer_makes_them() -> None:
    shape = ("batch", "sequence")
    feeds = first(
        ("input_ids", TensorProto.INT32, shape),
        ("token_type_ids", TensorProto.INT64, shape),
        ("position_ids", TensorProto.INT64, shape),
    )
    assert feeds["input_ids"].dtype == np.int32
    assert not feeds["token_type_ids"].any()
    np.testing.assert_array_equal(feeds["position_ids"][0], np.arange(feeds["position_ids"].shape[1]))


def test_images_and_caches_have_the_sizes_that_are_declared() -> None:
    feeds = first(
        ("pixel_values", TensorProto.FLOAT16, ("batch", 3, 32, 32)),
        ("past.key", TensorProto.FLOAT, ("batch", 4, "past", 8)),
        ("attention_mask", TensorProto.INT64, ("batch", "past + sequence")),
        ("input_ids", TensorProto.INT64, ("batch", "sequence")),
        ("use_cache", TensorProto.BOOL, ()),
    )
    assert feeds["pixel_values"].dtype == np.float16
    assert feeds["pixel_values"].shape[1:] == (3, 32, 32)
    past, sequence = feeds["past.key"].shape[2], feeds["input_ids"].shape[1]
    assert feeds["attention_mask"].shape[1] == past + sequence
    assert len({array.shape[0] for array in feeds.values() if array.ndim}) == 1
    assert feeds["use_cache"].shape == ()


def test_several_sizes_are_tried() -> None:
    batches = list(made_up_batches(model_of(("x", TensorProto.FLOAT, ("batch", "width")))))
    assert len({each.feeds["x"].shape for each in batches}) == len(batches) > 2


@pytest.mark.parametrize("value", [("text", TensorProto.STRING, ("batch",)), ("x", TensorProto.FLOAT, None)], ids=str)
def test_what_cannot_be_made_up_is_not(value: Input) -> None:
    assert not list(made_up_batches(model_of(value)))


def test_a_weight_that_is_an_input_too_stays_what_it_is() -> None:
    model = model_of(("x", TensorProto.FLOAT, ("batch", 2)), ("w", TensorProto.FLOAT, (2,)))
    proto = ir.to_proto(model)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "w"))
    assert set(next(iter(made_up_batches(ir.from_proto(proto)))).feeds) == {"x"}


@pytest.mark.parametrize("between", ["Identity", "Pad", "Cast"])
def test_channels_are_those_of_the_convolution_that_reads_them(between: str) -> None:
    """Exporters leave every size of a picture open, and no picture of sixteen channels runs."""
    value = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ("batch", "channels", "height", "width"))
    attributes = {"to": TensorProto.FLOAT} if between == "Cast" else {}
    read = ["pixel_values", "pads"] if between == "Pad" else ["pixel_values"]
    nodes = [
        helper.make_node(between, read, ["seen"], **attributes),
        helper.make_node("Conv", ["seen", "kernel"], ["patches"], group=2, kernel_shape=[4, 4]),
    ]
    stored = [
        helper.make_tensor("kernel", TensorProto.FLOAT, (8, 3, 4, 4), np.zeros(8 * 3 * 16, np.float32)),
        helper.make_tensor("pads", TensorProto.INT64, (8,), [0] * 8),
    ]
    out = helper.make_tensor_value_info("patches", TensorProto.FLOAT, None)
    model = ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", [value], [out], stored), ir_version=8))
    assert next(iter(made_up_batches(model))).feeds["pixel_values"].shape[1] == 6


def test_features_are_those_of_the_weight_that_reads_them() -> None:
    value = helper.make_tensor_value_info("inputs_embeds", TensorProto.FLOAT, ("batch", "sequence", "hidden"))
    stored = [helper.make_tensor("w", TensorProto.FLOAT, (5, 2), np.zeros(10, np.float32))]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("MatMul", ["inputs_embeds", "w"], ["y"])], "g", [value], [out], stored)
    model = ir.from_proto(helper.make_model(graph, ir_version=8))
    assert next(iter(made_up_batches(model))).feeds["inputs_embeds"].shape[2] == 5
