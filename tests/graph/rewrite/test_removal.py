"""Sublayers that go: which can, what is left of the graph, and what the model answers then."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.match.sublayers import Sublayer, find_sublayers
from squeeze_onnx.graph.rewrite.removal import fold_constants, remove_sublayer
from tests.graph.execution import run
from tests.tiny_encoder import HIDDEN, LAYERS, PreNorm, batch, encoder_model

NAMES = [f"layer.{layer}/{last}" for layer in range(LAYERS) for last in ("attention_output", "ffn_out")]


def pre_norm_model() -> onnx.ModelProto:
    builder = PreNorm(np.float32)
    output = builder.encoder(LAYERS)
    inputs = [helper.make_tensor_value_info(name, 7, ["b", "t"]) for name in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info(output, 1, ["b", "t", HIDDEN])]
    graph = helper.make_graph(builder.nodes, "pre_norm", inputs, outputs, builder.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS = {"post-norm": encoder_model(), "pre-norm": pre_norm_model()}


def sublayers(model: ir.Model) -> dict[str, Sublayer]:
    return {each.name: each for each in find_sublayers(find_sites(model).sites)}


def without(model: ir.Model, names: list[str], constants: dict[str, np.ndarray]) -> ir.Model:
    for name in names:
        remove_sublayer(model, sublayers(model)[name], constants[name])
    return model


def expected(proto: onnx.ModelProto, names: list[str], constants: dict[str, np.ndarray]) -> np.ndarray:
    """Answer as the model does whose last weights of ``names`` are zeros, and whose biases are ``constants``."""
    model = ir.from_proto(proto)
    for name in names:
        sublayer = sublayers(model)[name]
        weight, bias = sublayer.after.nodes[0].inputs[1], sublayer.join.inputs[sublayer.operand].producer().inputs[1]  # type: ignore[union-attr]
        for value, entries in ((weight, 0), (bias, constants[name])):
            assert value is not None and value.const_value is not None
            array = np.zeros_like(value.const_value.numpy()) + np.asarray(entries, np.float32)
            value.const_value = ir.tensor(array, name=value.name)
    return run(model, batch())[0]


@pytest.fixture(scope="module")
def constants() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal(HIDDEN) for name in NAMES}


@pytest.mark.parametrize("kind", MODELS)
def test_all_attentions_and_feed_forward_blocks_can_go_as_a_whole(kind: str) -> None:
    found = sublayers(ir.from_proto(MODELS[kind]))
    assert list(found) == NAMES
    assert [site.role.value for site in found[NAMES[0]].sites] == ["query", "key", "value", "attention_output"]
    assert [site.role.value for site in found[NAMES[1]].sites] == ["ffn_in", "ffn_out"]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "names", [NAMES[:1], NAMES[1:2], NAMES[:2], NAMES[1:3], NAMES], ids=["attention", "ffn", "layer", "between", "all"]
)
def test_the_model_answers_with_the_constants_in_their_place(
    kind: str, names: list[str], constants: dict[str, np.ndarray]
) -> None:
    model = without(ir.from_proto(MODELS[kind]), names, constants)
    right = expected(MODELS[kind], names, constants)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_allclose(run(model, batch())[0], right, atol=1e-5)
    left = {site.name for site in find_sites(model).sites}
    assert not any(name in left for name in names)
    before = sum(node.op_type == "Add" for node in model.graph)
    folded = fold_constants(model)
    assert folded >= len(names) - 1  # before the first layer of a pre-norm model there is no bias
    assert sum(node.op_type == "Add" for node in model.graph) == before - folded
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_allclose(run(model, batch())[0], right, atol=1e-5)
    assert all(value.uses() for value in model.graph.initializers.values())


def test_a_sublayer_stays_whose_inside_is_an_output_or_whose_weights_are_not_all_eligible() -> None:
    model = ir.from_proto(MODELS["post-norm"])
    shown = next(node.outputs[0] for node in model.graph if node.op_type == "Softmax")
    model.graph.outputs.append(shown)
    sites = find_sites(model).sites
    assert [each.name for each in find_sublayers(sites)] == NAMES[1:]
    eligible = {site.name for site in sites} - {"layer.1/value", "layer.0/ffn_in"}
    assert [each.name for each in find_sublayers(sites, eligible)] == NAMES[3:]
