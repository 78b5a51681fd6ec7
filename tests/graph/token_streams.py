"""Tiny encoders whose stream may lose tokens, in the ways that exporters write them, and one that says where its tokens stand."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from squeeze_onnx.compress.tokens.axes import axes_of
from squeeze_onnx.graph.match.token_stream import find_token_stream
from squeeze_onnx.graph.rewrite.fewer_tokens import Cut, KeptStates, prune_tokens
from squeeze_onnx.graph.rewrite.insertion import Inserter
from tests.tiny_encoder import HEADS, HIDDEN, LAYERS, Builder, PreNorm, batch, encoder_model

OPSET = 17


class Biased(Builder):
    """Adds a bias by relative position to the scores of all layers, computed once from the shape of the inputs, as MPNet does."""

    bias = ""

    def attention(self, rows: str, mask: str, layer: str) -> str:
        if not self.bias:
            length = self.node("Gather", self.node("Shape", "input_ids"), self.constant(np.array(1)))
            places = self.node("Range", self.constant(np.array(0)), length, self.constant(np.array(1)))
            rows_of, columns = (self.node("Unsqueeze", places, self.constant(np.array([axis]))) for axis in (1, 0))
            table = self.constant(self.generator.standard_normal((99, HEADS)).astype(np.float32))
            shifted = self.node("Add", self.node("Sub", rows_of, columns), self.constant(np.array(49)))
            looked_up = self.node("Transpose", self.node("Gather", table, shifted), perm=[2, 0, 1])
            self.bias = self.node("Unsqueeze", looked_up, self.constant(np.array([0])))
        return super().attention(rows, self.node("Add", mask, self.bias), layer)


class SizedPreNorm(PreNorm):
    """Reshapes by the sizes of the inputs."""

    def heads(self, rows: str, order: list[int]) -> str:
        sizes = self.node("Slice", self.node("Shape", "input_ids"), *(self.constant(np.array([n])) for n in (0, 2)))
        shape = self.node("Concat", sizes, self.constant(np.array([HEADS, HIDDEN // HEADS])), axis=0)
        return self.node("Transpose", self.node("Reshape", rows, shape), perm=order)


class Rotating(Builder):
    """Turns the rows of every layer by where they stand: behind a step nothing says where that was."""

    def feed_forward(self, rows: str, layer: str) -> str:
        places = self.node("CumSum", self.node("Mul", rows, self.number(0)), self.constant(np.array(1)))
        turned = self.node("CumSum", self.node("Add", places, self.number(0.1)), self.constant(np.array(1)))
        return super().feed_forward(self.node("Add", rows, turned), layer)


def model_of(builder: Builder, *, hidden: bool = False) -> ir.Model:
    """Return what ``builder`` makes, with output ``last_hidden_state``, and with ``hidden`` what goes on behind each layer."""
    end = builder.encoder(LAYERS)
    builder.nodes.append(helper.make_node("Identity", [end], ["last_hidden_state"]))
    shown = {"last_hidden_state": ["batch", "tokens", HIDDEN]}
    if hidden:
        shown[builder.nodes[-4].output[0]] = ["batch", "tokens", HIDDEN]
    graph = helper.make_graph(
        builder.nodes,
        "encoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shown.items()],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    read: ir.Model = ir.from_proto(model)
    return read


def stream_models() -> dict[str, ir.Model]:
    """Return one of every kind that may lose tokens, by name."""
    return {
        "encoder": ir.from_proto(encoder_model()),
        "classifier": ir.from_proto(encoder_model(classifier=True)),
        "relative positions": model_of(Biased(np.float32)),
        "norms in front": model_of(SizedPreNorm(np.float32)),
    }


def pruned(model: ir.Model, rates: dict[int, float], **cut: Any) -> tuple[ir.Model, tuple[KeptStates, ...]]:
    """Return a copy of ``model`` with so much of the tokens behind each layer, and what is left there."""
    copy = model.clone()
    insert = Inserter(copy)
    cuts = {layer: Cut(insert.constant(np.array(rate, np.float32)), **cut) for layer, rate in rates.items()}
    return copy, prune_tokens(copy, find_token_stream(copy.graph), cuts, axes_of(copy, batch()))
