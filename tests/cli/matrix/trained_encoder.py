"""A tiny encoder that answers as a trained one does, so that its outputs tell a right model from a destroyed one.

Words belong to topics, their table and all weights have a spectrum that falls like 1/i over a little noise, as trained weights
have, and a text's embedding is about its topics. Positions and kinds of token are looked up in tables of their own.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tests.graph.execution import PRECISE_INTEGERS
from tests.text_models import SPECIAL, write_tokenizer
from tests.tiny_encoder import HIDDEN, Builder, with_weights

TOPICS = 12
WORDS = tuple(f"word{index}" for index in range(240))
VOCABULARY = len(SPECIAL) + len(WORDS)
POSITIONS = 32
CLASSES = 6
LONGEST = 12

_DECAY = 2.0
_NOISE = 0.01
"""What no singular value falls below, as a share of the largest."""
_OWN = 0.15
"""What a word has to itself, as a share of its topic."""
_CONTEXT = 1.0
"""How much attention adds to a token, as a share of what it was."""
_LOGITS = 2.0
"""How far the logits of a class vary, as a standard deviation."""
_SMALL_TABLE = 0.2
"""How large positions and kinds are beside words."""


class _TrainedBuilder(Builder):
    """Writes weights with the spectrum of trained ones, and all three tables of a BERT."""

    def weight(self, rows: int, columns: int, name: str) -> str:
        left, _, right = np.linalg.svd(self.generator.standard_normal((rows, columns)), full_matrices=False)
        values = np.maximum(np.arange(1.0, 1 + min(rows, columns)) ** -_DECAY, _NOISE)
        entries = (left * values) @ right * np.sqrt(columns) / np.linalg.norm(values)
        context = _CONTEXT if name.endswith(("value.weight", "attention_output.weight")) else 1.0
        return self.constant((context * entries).astype(self.dtype), name)

    def embedding(self) -> str:
        topics = self.generator.standard_normal((TOPICS, HIDDEN)) / np.arange(1, 1 + TOPICS)[:, None] ** 0.3
        words = topics[np.arange(VOCABULARY) % TOPICS] + _OWN * self.generator.standard_normal((VOCABULARY, HIDDEN))
        words /= np.sqrt(np.square(words).mean())
        waves = np.sin(np.arange(POSITIONS)[:, None] / 3 + np.arange(4))
        others = {
            "positions": _SMALL_TABLE * waves @ self.generator.standard_normal((4, HIDDEN)),
            "kinds": _SMALL_TABLE * self.generator.standard_normal((2, HIDDEN)),
        }
        length = self.node("Gather", self.node("Shape", "input_ids"), self.constant(np.array(1)))
        places = self.node("Range", self.constant(np.array(0)), length, self.constant(np.array(1)))
        places = self.node("Unsqueeze", places, self.constant(np.array([0])))
        tables = {"words": words, **others}
        indices = {"words": "input_ids", "positions": places, "kinds": "token_type_ids"}
        rows = {
            name: self.node(
                "Gather", self.constant(table.astype(self.dtype), f"{name}.weight"), indices[name], name=name
            )
            for name, table in tables.items()
        }
        return self.node("Add", self.node("Add", rows["words"], rows["kinds"]), rows["positions"])

    def pooled(self, rows: str) -> str:
        """Return the mean of what tokens that are text have become: it is about the text's topic."""
        shown = self.node(
            "Cast", self.node("Unsqueeze", "attention_mask", self.constant(np.array([2]))), to=TensorProto.FLOAT
        )
        total = self.node("ReduceSum", self.node("Mul", rows, shown), self.constant(np.array([1])), keepdims=0)
        return self.node("Div", total, self.node("ReduceSum", shown, self.constant(np.array([1])), keepdims=0))


def trained_encoder(*, classifier: bool = False, layers: int = 2) -> onnx.ModelProto:
    """Return the encoder with output ``last_hidden_state``, or the classifier with ``logits``."""
    builder = _TrainedBuilder(np.float32)
    rows = builder.encoder(layers)
    named = {builder.classifier(rows, CLASSES): "logits"} if classifier else {rows: "last_hidden_state"}
    shape: list[str | int] = ["batch", CLASSES] if classifier else ["batch", "tokens", HIDDEN]
    for node in builder.nodes:
        node.output[0] = named.get(node.output[0], node.output[0])
    graph = helper.make_graph(
        builder.nodes,
        "trained_encoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in named.values()],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def trained_classifier() -> onnx.ModelProto:
    """Return the classifier with logits that tell texts apart: the directions in which what it reads varies most."""
    model = trained_encoder(classifier=True, layers=1)
    head = next(node for node in model.graph.node if node.name == "classifier")
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.append(helper.make_tensor_value_info(head.input[0], TensorProto.FLOAT, ["batch", HIDDEN]))
    features = answers(watched.SerializeToString(), sentences(64, seed=5))
    _, values, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    falling = np.arange(1.0, 1 + CLASSES)[:, None] ** -1
    weight = _LOGITS * np.sqrt(len(features)) / values[0] * falling * directions[:CLASSES]
    bias = -weight @ features.mean(axis=0)
    return with_weights(
        model, {name: w.astype(np.float32) for name, w in zip(head.input[1:], (weight, bias), strict=True)}
    )


def write_trained_folder(folder: Path, model: onnx.ModelProto) -> Path:
    """Write model.onnx, tokenizer.json and config.json; return ``folder``."""
    write_tokenizer(folder, WORDS)
    onnx.save(model, folder / "model.onnx")
    labels = {str(index): f"class {index}" for index in range(CLASSES)}
    settings = {"model_type": "bert", "vocab_size": VOCABULARY, "pad_token_id": 0, "id2label": labels}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def sentences(count: int, seed: int) -> list[str]:
    """Return texts of five to ten words, most of them of one topic."""
    random = np.random.default_rng(seed)
    texts = []
    for topic in random.integers(TOPICS, size=count):
        length = int(random.integers(5, LONGEST - 1))
        own = random.choice(np.arange(len(WORDS))[topic::TOPICS], length)
        words = np.where(random.random(length) < 0.6, own, random.integers(len(WORDS), size=length))
        texts.append(" ".join(WORDS[word] for word in words))
    return texts


def token_ids(texts: list[str]) -> list[np.ndarray]:
    """Return the tokens of each text, as the tokenizer makes them."""
    numbers = {token: number for number, token in enumerate([*SPECIAL, *WORDS])}
    return [np.array([numbers[token] for token in ("[CLS]", *text.split(), "[SEP]")]) for text in texts]


def answers(model: Path | bytes, texts: list[str]) -> np.ndarray:
    """Return the logits of each text, or the mean of its tokens' embeddings, in ONNX Runtime: (texts, features)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(*PRECISE_INTEGERS)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    taken = {value.name for value in session.get_inputs()}
    found = []
    for ids in token_ids(texts):
        feeds = {"input_ids": ids[None], "attention_mask": np.ones((1, len(ids)), np.int64)}
        feeds["token_type_ids"] = np.zeros((1, len(ids)), np.int64)
        output, *_ = session.run(None, {name: array for name, array in feeds.items() if name in taken})
        found.append(output[0] if output.ndim == 2 else output[0].mean(axis=0))
    return np.array(found, np.float64)


def likeness(found: np.ndarray, dense: np.ndarray) -> float:
    """Return the correlation (-1 … 1) of answers with the ``dense`` ones, about the mean of these: 0 is what ruins have."""
    middle = dense.mean(axis=0)
    first, second = (found - middle).ravel(), (dense - middle).ravel()
    return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))


def distance(found: np.ndarray, dense: np.ndarray) -> float:
    """Return the squared distance of answers from the ``dense`` ones over the variance of these."""
    return float(np.square(found - dense).sum() / np.square(dense - dense.mean(axis=0)).sum())
