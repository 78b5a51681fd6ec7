"""A model of the shape of multilingual sentence encoders: 250,000 tokens of 384 features, 12 layers of 384/1536, random weights.

Its Unigram vocabulary is made here: the words of ``texts`` and their parts, and made-up words of other scripts; positions are
counted from ids that are not the padding, as XLM-RoBERTa has it.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

TOKENS, HIDDEN, INTERMEDIATE, LAYERS, HEADS, POSITIONS = 250_000, 384, 1536, 12, 12, 514
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
PADDING = 1

_SCRIPTS = ((0x410, 0x450), (0x3B1, 0x3CA), (0x621, 0x64B), (0x905, 0x93A), (0x4E00, 0x9FA5), (0xAC00, 0xD7A4))
_PARTS = 20_000


def write_multilingual(folder: Path, texts: Iterable[str]) -> Path:
    """Write model.onnx, tokenizer.json and config.json into ``folder``, which is returned."""
    folder.mkdir(parents=True)
    ends = [(token, SPECIAL.index(token)) for token in ("<s>", "</s>")]
    tokenizer = Tokenizer(models.Unigram(_pieces(texts), SPECIAL.index("<unk>"), False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    tokenizer.add_special_tokens([*SPECIAL, "<mask>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": "xlm-roberta", "vocab_size": TOKENS, "pad_token_id": PADDING}
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": POSITIONS}), encoding="utf-8")
    onnx.save(_model(), folder / "model.onnx")
    return folder


def _pieces(texts: Iterable[str]) -> list[tuple[str, float]]:
    """Return `TOKENS` pieces and their scores, special ones at the ends."""
    words = Counter(word for text in texts for word in text.lower().split())
    parts = Counter[str]()
    for word, count in words.items():
        parts.update({word[start : start + size]: count for size in (2, 3, 4) for start in range(len(word) - size + 1)})
    scores = {f"▁{word}": float(np.log(count / words.total())) for word, count in words.most_common()}
    for part, count in parts.most_common(_PARTS):
        scores.setdefault(part, float(np.log(count / parts.total())) - 3)
    for first, end in ((0x21, 0x7F), *_SCRIPTS):
        for code in range(first, end):
            scores.setdefault(chr(code), -13.0)
    draw = random.Random(0)
    while len(scores) < TOKENS - len(SPECIAL) - 1:
        first, end = draw.choice(_SCRIPTS)
        letters = "".join(chr(draw.randrange(first, end)) for _ in range(draw.randint(2, 6)))
        scores.setdefault(draw.choice(("▁", "")) + letters, draw.uniform(-14, -8))
    ordered = sorted(scores.items(), key=lambda piece: -piece[1])
    return [*((token, 0.0) for token in SPECIAL), *ordered, ("<mask>", 0.0)]


class _Graph:
    """Nodes and initializers so far; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.draw = np.random.default_rng(0)

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"{op}_{len(self.nodes)}", **attributes))
        return output

    def constant(self, values: object) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weight(self, rows: int, columns: int) -> str:
        return self.constant(
            self.draw.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))
        )

    def linear(self, rows: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", rows, self.weight(inputs, outputs))
        return self.node("Add", product, self.constant(np.zeros(outputs, np.float32)))

    def normalize(self, rows: str) -> str:
        ones, zeros = (self.constant(fill(HIDDEN, np.float32)) for fill in (np.ones, np.zeros))
        return self.node("LayerNormalization", rows, ones, zeros, axis=-1)

    def attend(self, rows: str, mask: str) -> str:
        size = HIDDEN // HEADS
        split, join = self.constant(np.array([0, 0, HEADS, size])), self.constant(np.array([0, 0, HIDDEN]))
        query, key, value = (
            self.node("Transpose", self.node("Reshape", self.linear(rows, HIDDEN, HIDDEN), split), perm=order)
            for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        scaled = self.node("Div", self.node("MatMul", query, key), self.constant(np.float32(np.sqrt(size))))
        shares = self.node("Softmax", self.node("Add", scaled, mask), axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self.linear(self.node("Reshape", mixed, join), HIDDEN, HIDDEN)

    def feed_forward(self, rows: str) -> str:
        return self.linear(self.node("Relu", self.linear(rows, HIDDEN, INTERMEDIATE)), INTERMEDIATE, HIDDEN)


def _model() -> onnx.ModelProto:
    graph = _Graph()
    words = graph.node("Gather", graph.weight(TOKENS, HIDDEN), "input_ids")
    same = graph.node("Equal", "input_ids", graph.constant(np.array(PADDING)))
    shown = graph.node("Cast", graph.node("Not", same), to=TensorProto.INT64)
    counted = graph.node("Mul", graph.node("CumSum", shown, graph.constant(np.array(1))), shown)
    places = graph.node("Add", counted, graph.constant(np.array(PADDING)))
    rows = graph.normalize(graph.node("Add", words, graph.node("Gather", graph.weight(POSITIONS, HIDDEN), places)))
    reals = graph.node("Cast", graph.node("Unsqueeze", "attention_mask", graph.constant(np.array([1, 2]))), to=1)
    hidden = graph.node("Sub", graph.constant(np.float32(1)), reals)
    mask = graph.node("Mul", hidden, graph.constant(np.float32(-1e4)))
    for _ in range(LAYERS):
        rows = graph.normalize(graph.node("Add", rows, graph.attend(rows, mask)))
        rows = graph.normalize(graph.node("Add", rows, graph.feed_forward(rows)))
    graph.nodes[-1].output[0] = "last_hidden_state"
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in _INPUTS]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", HIDDEN])
    made = helper.make_graph(graph.nodes, "multilingual", inputs, [output], graph.tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


_INPUTS = ("input_ids", "attention_mask")
