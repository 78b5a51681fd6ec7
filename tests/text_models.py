"""Tiny text models for tests: a bag of words behind a real tokenizer, whose answers can be worked out by hand.

Every word has a vector. A classifier's logits are the sum of the vectors of a text's words, an encoder's token embeddings
are the vectors themselves, its sentence embedding is their mean.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")

Vectors = Mapping[str, Sequence[float]]


def write_tokenizer(folder: Path, words: Sequence[str]) -> Path:
    """Write tokenizer.json: one token a word, ``[CLS] a [SEP]`` and ``[CLS] a [SEP] b [SEP]``."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def write_classifier(folder: Path, vectors: Vectors, **config: Any) -> Path:
    """Write a model with output ``logits`` (batch, classes), its tokenizer and a config.json of ``config``."""
    classes = _features(vectors)
    return _write(folder, vectors, _summed_words("logits"), {"logits": ["batch", classes]}, config)


def write_encoder(
    folder: Path, vectors: Vectors, outputs: Sequence[str] = ("last_hidden_state",), **config: Any
) -> Path:
    """Write a model with ``last_hidden_state`` or ``sentence_embedding`` or both, its tokenizer and its config.json."""
    features = _features(vectors)
    nodes = [
        *_summed_words("sum"),
        helper.make_node("ReduceSum", ["mask", "axis_1"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["sentence_embedding"]),
        helper.make_node("Identity", ["words"], ["last_hidden_state"]),
    ]
    shapes: dict[str, list[str | int]] = {
        "last_hidden_state": ["batch", "tokens", features],
        "sentence_embedding": ["batch", features],
    }
    return _write(folder, vectors, nodes, {name: shapes[name] for name in outputs}, config)


def write_tagger(folder: Path, vectors: Vectors, **config: Any) -> Path:
    """Write a model whose ``logits`` (batch, tokens, classes) are the vectors of the words, its tokenizer and its config.json."""
    nodes = [_words(), helper.make_node("Identity", ["words"], ["logits"])]
    return _write(folder, vectors, nodes, {"logits": ["batch", "tokens", _features(vectors)]}, config)


def write_reader(folder: Path, vectors: Vectors, **config: Any) -> Path:
    """Write a model whose ``start_logits`` and ``end_logits`` (batch, tokens) are the two numbers of each word."""
    outputs = ("start_logits", "end_logits")
    nodes = [_words(), helper.make_node("Split", ["words"], ["starts", "ends"], axis=2, num_outputs=2)]
    nodes += [
        helper.make_node("Squeeze", [column, "last_axis"], [output])
        for column, output in zip(("starts", "ends"), outputs, strict=True)
    ]
    return _write(folder, vectors, nodes, {name: ["batch", "tokens"] for name in outputs}, config, opset=18)


def _features(vectors: Vectors) -> int:
    return len(next(iter(vectors.values())))


def _words() -> onnx.NodeProto:
    return helper.make_node("Gather", ["table", "input_ids"], ["words"])


def _summed_words(output: str) -> list[onnx.NodeProto]:
    return [
        _words(),
        helper.make_node("Cast", ["attention_mask"], ["float_mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float_mask", "last_axis"], ["mask"]),
        helper.make_node("Mul", ["words", "mask"], ["unpadded_words"]),
        helper.make_node("ReduceSum", ["unpadded_words", "axis_1"], [output], keepdims=0),
    ]


def _write(
    folder: Path,
    vectors: Vectors,
    nodes: list[onnx.NodeProto],
    outputs: Mapping[str, list[str | int]],
    config: Mapping[str, Any],
    *,
    opset: int = 17,
) -> Path:
    write_tokenizer(folder, list(vectors))
    features = _features(vectors)
    table = np.zeros((len(SPECIAL) + len(vectors), features), np.float32)
    # A padding vector that is not zero shows whether the mask is respected.
    table[0] = 100
    table[len(SPECIAL) :] = list(vectors.values())
    graph = helper.make_graph(
        nodes,
        "bag_of_words",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1]), "last_axis"),
            numpy_helper.from_array(np.array([1]), "axis_1"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps({"vocab_size": len(table), "pad_token_id": 0, **config}))
    return folder
