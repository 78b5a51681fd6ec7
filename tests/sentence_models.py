"""Tiny embedders with the files of published ones, as sentence-transformers writes them: pooling, modules, prompts, layouts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save_file

from tests.tiny_encoder import HIDDEN, INTERMEDIATE, LAYERS, VOCABULARY, encoder_model, write_model_folder

MODELS = "sentence_transformers.models"
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"

TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
SETTINGS = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 48, **TOKENS}

FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


@dataclass(frozen=True)
class DenseModule:
    """A `Dense` module of random weights: its width, activation (None: the file says nothing) and whether it has a bias."""

    width: int
    activation: str | None = TANH
    bias: bool = True


@dataclass(frozen=True)
class Published:
    """What the files of a published model say; ``pooling`` in the form of versions 1 to 5 if ``by_flags``."""

    pooling: tuple[str, ...] = ("mean",)
    by_flags: bool = True
    include_prompt: bool | None = None
    dense: tuple[DenseModule, ...] = ()
    normalized: bool = True
    normalized_first: bool = False
    limits: Mapping[str, Any] = field(default_factory=lambda: {"max_seq_length": 32, "do_lower_case": False})
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    truncate_dim: int | None = None
    left: bool = False
    folder: str = "onnx"


PUBLISHED = {
    "all-MiniLM-L6-v2": Published(),
    "bge-small-en-v1.5": Published(("cls",), limits={"max_seq_length": 40, "do_lower_case": True}),
    "e5-base-v2": Published(prompts={"query": "the good ", "passage": "a film "}, default_prompt="passage"),
    "gte-base": Published(normalized=False, folder=""),
    "snowflake-arctic-embed-m": Published(("cls",), prompts={"query": "not without a scene "}, by_flags=False),
    "mxbai-embed-large-v1": Published(("cls",), normalized=False, prompts={"query": "the plot "}, truncate_dim=20),
    "distiluse-base-multilingual-cased-v2": Published(dense=(DenseModule(24),), normalized=False, folder=""),
    "last-token": Published(
        ("lasttoken",),
        by_flags=False,
        left=True,
        prompts={"query": "the "},
        default_prompt="query",
        include_prompt=True,
    ),
}
"""By the names of the models whose files say the same; widths and prompts are tiny ones."""


def write_sentence_model(folder: Path, told: Published, model: onnx.ModelProto | None = None) -> Path:
    """Write the repository ``folder`` with a tiny encoder and files that say what is ``told``; return it."""
    write_model_folder(
        folder,
        model,
        architectures=["BertModel"],
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=INTERMEDIATE,
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
    )
    if told.folder:
        (folder / told.folder).mkdir()
        (folder / "model.onnx").rename(folder / told.folder / "model.onnx")
    settings = SETTINGS | ({"padding_side": "left"} if told.left else {})
    write(folder / "tokenizer_config.json", settings)
    write(folder / "sentence_bert_config.json", told.limits)
    said = {"prompts": told.prompts, "default_prompt_name": told.default_prompt}
    write(folder / "config_sentence_transformers.json", said | _if_any(truncate_dim=told.truncate_dim))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    write(folder / "1_Pooling" / "config.json", pooling_config(told))
    width = HIDDEN * len(told.pooling)
    if told.normalized_first:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    for number, dense in enumerate(told.dense, start=len(modules)):
        modules.append((f"{number}_Dense", "Dense"))
        write_dense(folder / f"{number}_Dense", width, dense)
        width = dense.width
    if told.normalized:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    entries = [
        {"idx": n, "name": str(n), "path": path, "type": f"{MODELS}.{kind}"} for n, (path, kind) in enumerate(modules)
    ]
    write(folder / "modules.json", entries)
    return folder


def write_reranker(folder: Path, **config: Any) -> Path:
    """Write a tiny encoder with one logit, as a CrossEncoder has it; ``config`` goes into config.json. Returns ``folder``."""
    said = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    model = encoder_model(classifier=True, classes=1)
    write_model_folder(folder, model, **said, **sizes, intermediate_size=INTERMEDIATE, **config)
    write(folder / "tokenizer_config.json", SETTINGS)
    return folder


def pooling_config(told: Published) -> dict[str, Any]:
    """Return 1_Pooling/config.json."""
    more = _if_any(include_prompt=told.include_prompt)
    if told.by_flags:
        flags = {flag: name in told.pooling for name, flag in FLAGS.items()}
        return {"word_embedding_dimension": HIDDEN, **flags, **more}
    pooling = told.pooling[0] if len(told.pooling) == 1 else list(told.pooling)
    return {"embedding_dimension": HIDDEN, "pooling_mode": pooling, **more}


def write_dense(folder: Path, width: int, dense: DenseModule) -> None:
    """Write a module of random weights, as PyTorch has them: (out, in)."""
    generator = np.random.default_rng(dense.width)
    tensors = {"linear.weight": (generator.standard_normal((dense.width, width)) / np.sqrt(width)).astype(np.float32)}
    if dense.bias:
        tensors["linear.bias"] = generator.standard_normal(dense.width).astype(np.float32)
    config = {"in_features": width, "out_features": dense.width, "bias": dense.bias}
    write(folder / "config.json", config | _if_any(activation_function=dense.activation))
    save_file(tensors, folder / "model.safetensors")


def write(path: Path, document: Any) -> None:
    """Write ``document`` as JSON, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def _if_any(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
