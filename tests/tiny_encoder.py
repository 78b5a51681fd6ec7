"""A tiny BERT-type encoder as a folder: real attention, so that its weights have all roles, and a tokenizer of its own.

Two layers of hidden size 32. A weight is noise with two strong components, so that squeezing has something to find.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graph.execution import PRECISE_INTEGERS
from tests.text_models import SPECIAL, write_tokenizer

_TEXT = (
    "a the this that it film movie plot actor scene good bad great poor dull bright slow fast long short was is "
    "seemed felt never always very quite not and but or of in with without"
)
WORDS = _TEXT.split()
SENTENCES = ("the film was good", "a very dull plot", "it is not bad but slow", "this scene felt long and poor")

LAYERS = 2
HIDDEN = 32
INTERMEDIATE = 64
HEADS = 4
CLASSES = 2
SPOKEN = 1001  # words of a language model: more than the classes that a token may have elsewhere
VOCABULARY = len(SPECIAL) + len(WORDS)

LAYER_SITES = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")
ELIGIBLE_SITES = tuple(f"layer.{layer}/{role}" for layer in range(LAYERS) for role in LAYER_SITES)
ELIGIBLE_PARAMETERS = LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INTERMEDIATE)


class Builder:
    """Nodes and initializers so far; each method appends some and returns the name of their output."""

    def __init__(self, dtype: type[np.floating[Any]]) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.generator = np.random.default_rng(0)

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=name, **attributes))
        return output

    def constant(self, array: Any, name: str = "") -> str:
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(self.dtype(value))

    def weight(self, rows: int, columns: int, name: str) -> str:
        spikes = self.generator.standard_normal((rows, 2)) @ self.generator.standard_normal((2, columns))
        entries = (spikes + self.generator.standard_normal((rows, columns))) / np.sqrt(3 * rows)
        return self.constant(entries.astype(self.dtype), name)

    def linear(self, rows: str, inputs: int, outputs: int, name: str) -> str:
        product = self.node("MatMul", rows, self.weight(inputs, outputs, f"{name}.weight"), name=name)
        bias = self.constant((0.1 * self.generator.standard_normal(outputs)).astype(self.dtype))
        return self.node("Add", product, bias)

    def normalize(self, rows: str) -> str:
        ones, zeros = self.constant(np.ones(HIDDEN, self.dtype)), self.constant(np.zeros(HIDDEN, self.dtype))
        return self.node("LayerNormalization", rows, ones, zeros, axis=-1)

    def heads(self, rows: str, order: list[int]) -> str:
        split = self.node("Reshape", rows, self.constant(np.array([0, 0, HEADS, HIDDEN // HEADS])))
        return self.node("Transpose", split, perm=order)

    def attention(self, rows: str, mask: str, layer: str) -> str:
        query, key, value = (self.linear(rows, HIDDEN, HIDDEN, f"{layer}/{role}") for role in ("query", "key", "value"))
        scores = self.node("MatMul", self.heads(query, [0, 2, 1, 3]), self.heads(key, [0, 2, 3, 1]))
        scaled = self.node("Div", scores, self.number(np.sqrt(HIDDEN / HEADS)))
        probabilities = self.node("Softmax", self.node("Add", scaled, mask), axis=-1)
        context = self.node("MatMul", probabilities, self.heads(value, [0, 2, 1, 3]))
        joined = self.node("Transpose", context, perm=[0, 2, 1, 3])
        flat = self.node("Reshape", joined, self.constant(np.array([0, 0, HIDDEN])))
        return self.linear(flat, HIDDEN, HIDDEN, f"{layer}/attention_output")

    def feed_forward(self, rows: str, layer: str) -> str:
        wide = self.linear(rows, HIDDEN, INTERMEDIATE, f"{layer}/ffn_in")
        erf = self.node("Erf", self.node("Div", wide, self.number(np.sqrt(2))))
        gelu = self.node("Mul", self.node("Mul", wide, self.node("Add", erf, self.number(1))), self.number(0.5))
        return self.linear(gelu, INTERMEDIATE, HIDDEN, f"{layer}/ffn_out")

    def embedding(self) -> str:
        table = self.weight(VOCABULARY, HIDDEN, "embedding.weight")
        return self.node("Gather", table, "input_ids", name="embedding")

    def hidden_scores(self) -> str:
        """Return what is added to the scores of all heads: much less than nothing at padding."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        shown = self.node("Cast", self.node("Unsqueeze", "attention_mask", self.constant(np.array([1, 2]))), to=kind)
        return self.node("Mul", self.node("Sub", self.number(1), shown), self.number(-1e4))

    def encoder(self, layers: int) -> str:
        rows = self.normalize(self.embedding())
        mask = self.hidden_scores()
        for index in range(layers):
            layer = f"layer.{index}"
            rows = self.normalize(self.node("Add", rows, self.attention(rows, mask, layer)))
            rows = self.normalize(self.node("Add", rows, self.feed_forward(rows, layer)))
        return rows

    def pooled(self, rows: str) -> str:
        """Return the first token."""
        return self.node("Gather", rows, self.constant(np.array(0)), axis=1)

    def classifier(self, rows: str, classes: int) -> str:
        """Return logits: `pooled` tokens, a pooler with tanh, and a Gemm that holds its weight transposed."""
        pooled = self.node("Tanh", self.linear(self.pooled(rows), HIDDEN, HIDDEN, "pooler"))
        weight = self.weight(classes, HIDDEN, "classifier.weight")
        bias = self.constant(np.zeros(classes, self.dtype))
        return self.node("Gemm", pooled, weight, bias, name="classifier", transB=1)

    def spans(self, rows: str) -> tuple[str, str]:
        """Return for each token how likely a span begins there, and how likely it ends there."""
        both = self.linear(rows, HIDDEN, 2, "spans")
        start, end = (self.node("Gather", both, self.constant(np.array(index)), axis=2) for index in range(2))
        return start, end


class PreNorm(Builder):
    """Layers that are normalized before, as those of ViT and GPT are."""

    def encoder(self, layers: int) -> str:
        """Return the last states, normalized."""
        rows = self.embedding()
        mask = self.hidden_scores()
        for index in range(layers):
            layer = f"layer.{index}"
            rows = self.node("Add", self.attention(self.normalize(rows), mask, layer), rows)
            rows = self.node("Add", rows, self.feed_forward(self.normalize(rows), layer))
        return self.normalize(rows)


def encoder_model(
    *,
    classifier: bool = False,
    tagger: bool = False,
    speaker: bool = False,
    reader: bool = False,
    dtype: type[np.floating[Any]] = np.float32,
    layers: int = LAYERS,
    classes: int = CLASSES,
) -> onnx.ModelProto:
    """Return the encoder with output ``last_hidden_state``.

    A ``classifier`` has ``logits`` of the text instead, a ``tagger`` those of every token, a ``speaker`` those of
    `SPOKEN` words there, a ``reader`` ``start_logits`` and ``end_logits``.
    """
    builder = Builder(dtype)
    rows = builder.encoder(layers)
    shape: list[str | int] = ["batch", "tokens", HIDDEN]
    named = {rows: "last_hidden_state"}
    if classifier:
        named, shape = {builder.classifier(rows, classes): "logits"}, ["batch", classes]
    if tagger:
        named, shape = {builder.linear(rows, HIDDEN, CLASSES, "tags"): "logits"}, ["batch", "tokens", CLASSES]
    if speaker:
        named, shape = {builder.linear(rows, HIDDEN, SPOKEN, "words"): "logits"}, ["batch", "tokens", SPOKEN]
    if reader:
        named, shape = dict(zip(builder.spans(rows), ("start_logits", "end_logits"), strict=True)), ["batch", "tokens"]
    for node in builder.nodes:
        node.output[0] = named.get(node.output[0], node.output[0])
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        builder.nodes,
        "tiny_encoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(name, kind, shape) for name in named.values()],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model_folder(folder: Path, model: onnx.ModelProto | None = None, **config: Any) -> Path:
    """Write model.onnx (default: the encoder), tokenizer.json and config.json, as optimum does; return ``folder``."""
    write_tokenizer(folder, WORDS)
    onnx.save(encoder_model() if model is None else model, folder / "model.onnx")
    settings = {"model_type": "bert", "vocab_size": VOCABULARY, "pad_token_id": 0, **config}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the initializers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_weights(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Put ``weights`` in the place of the initializers of these names; ``model`` changes and is returned."""
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return model


def batch() -> dict[str, np.ndarray]:
    """Return inputs: three sequences, the last one padded."""
    ids = np.random.default_rng(1).integers(len(SPECIAL), VOCABULARY, (3, 7))
    mask = np.ones_like(ids)
    mask[2, 4:] = ids[2, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def outputs(folder: Path) -> np.ndarray:
    """Run the model of ``folder`` on `batch` with onnxruntime; return its one output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*PRECISE_INTEGERS)
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, batch())[0]
    return output
