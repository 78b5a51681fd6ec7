"""Tiny models behind tokenizers of every kind, trained here on words of several scripts, to take a part of the vocabulary of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

KINDS = ("WordPiece", "BPE", "Unigram")
ENGLISH = (
    "the lower towers were newer than the widest river",
    "a new tower is lower than the low river",
    "wider rivers",
)
CORPUS = (*ENGLISH, "новый дом стоит у реки", "новая река шире старой реки", "der neue Turm ist größer", "新しい塔") * 4
STRANGE = ("🙂 zebra", "старый дом", "塔", "\u0e01\u0e02")
"""Texts whose tokens do not stay where those of `ENGLISH` do."""

FEATURES = 6


def trained(kind: str) -> Tokenizer:
    """Return a tokenizer of one of `KINDS`: of characters, of bytes, or of pieces with bytes to fall back to."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer: Any
    if kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    elif kind == "BPE":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=100, special_tokens=special, unk_token="[UNK]", show_progress=False
        )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if kind == "Unigram":  # its trainer knows no bytes to fall back to
        document = json.loads(tokenizer.to_str())
        document["model"]["vocab"] += [[f"<0x{byte:02X}>", -30.0] for byte in range(256)]
        document["model"]["byte_fallback"] = True
        tokenizer = Tokenizer.from_str(json.dumps(document))
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(["[MASK]"])
    return tokenizer


def table_model(rows: int, *, compared: int | None = None) -> onnx.ModelProto:
    """Return a model that answers with the rows of a table, plus one where an id is the one that it is ``compared`` with."""
    table = np.random.default_rng(0).standard_normal((rows, FEATURES)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["words"], name="embedding")]
    tensors = [numpy_helper.from_array(table, "table")]
    if compared is None:
        nodes.append(helper.make_node("Identity", ["words"], ["last_hidden_state"]))
    else:
        tensors += [numpy_helper.from_array(np.array(compared), "id"), numpy_helper.from_array(np.array([2]), "last")]
        nodes += [
            helper.make_node("Equal", ["input_ids", "id"], ["same"], name="padding"),
            helper.make_node("Cast", ["same"], ["ones"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["ones", "last"], ["column"]),
            helper.make_node("Add", ["words", "column"], ["last_hidden_state"]),
        ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", FEATURES])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_folder(folder: Path, kind: str, tokenizer: Tokenizer | None = None, **model: Any) -> Path:
    """Write a `table_model`, its tokenizer and what transformers writes beside it; the table has some rows more than tokens."""
    tokenizer = trained(kind) if tokenizer is None else tokenizer
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    rows = tokenizer.get_vocab_size() + 3
    onnx.save(table_model(rows, **model), folder / "model.onnx")
    ids = {token: tokenizer.token_to_id(token) for token in ("[PAD]", "[SEP]", "[MASK]")}
    _write(
        folder / "config.json",
        {
            "vocab_size": rows,
            "pad_token_id": ids["[PAD]"],
            "eos_token_id": [ids["[SEP]"], ids["[MASK]"]],
            "type_vocab_size": 2,
            "bos_token_id": rows + 50_000,
        },
    )
    _write(folder / "generation_config.json", {"decoder_start_token_id": ids["[MASK]"]})
    settings = {"added_tokens_decoder": {str(ids["[MASK]"]): {"content": "[MASK]"}}, "pad_token": "[PAD]"}
    _write(folder / "tokenizer_config.json", settings)
    _write(folder / "added_tokens.json", {"[MASK]": ids["[MASK]"]})
    names = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    (folder / "vocab.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(b"as it was")
    return folder


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")
