"""The size of a head as runtimes read it off the files beside a decoder, to allocate its cache of keys and values.

onnxruntime-genai takes ``head_size`` of genai_config.json. optimum (`ORTModelForCausalLM`) takes ``head_dim`` of config.json for
some model types, and for all others the hidden size divided by the number of heads. Both take one number for the keys and the
values of all layers.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.repository import CONFIG_FILE, Repository

GENAI_FILE = "genai_config.json"

BEFORE = "squeeze_onnx"
"""The key under which config.json says what the model's own sizes were before."""

_READS_HEAD_DIM = frozenset({"gemma", "gemma3", "gemma3_text", "gpt_oss", "nemotron"})
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")


def write_head_size(repository: Repository, folder: Path, before: int, after: int) -> tuple[str, ...]:
    """Change ``before`` to ``after`` in what ``folder`` has of the files of ``repository``; return the names of those changed.

    Raises ModelError for a file that is no JSON object.
    """
    changed: list[str] = []
    for name, edited in ((CONFIG_FILE, _config), (GENAI_FILE, _genai_config)):
        source = repository.find(name)
        path = None if source is None else folder / source.relative_to(repository.root)
        if path is None or not path.is_file():
            continue
        values = edited(read_json_object(path), before, after)
        if values is not None:
            path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            changed.append(name)
    return tuple(changed)


def _config(values: Mapping[str, Any], before: int, after: int) -> dict[str, Any] | None:
    """Return config.json with another size of a head; None if it says nothing of the one before."""
    inner = values.get("text_config")
    nested = isinstance(inner, dict) and _number(inner, _HEADS) is not None
    text: Mapping[str, Any] = inner if nested and inner is not None else values
    sizes = dict(_sizes(text, str(text.get("model_type") or values.get("model_type")), before, after))
    if not sizes:
        return None
    own = {**{key: text[key] for key in sizes}, **(text.get(BEFORE) or {})}
    changed = {**text, **sizes, BEFORE: own}
    return {**values, "text_config": changed} if nested else changed


def _sizes(values: Mapping[str, Any], kind: str, before: int, after: int) -> Iterator[tuple[str, int]]:
    if values.get("head_dim") == before:
        yield "head_dim", after
    hidden, heads = _number(values, _HIDDEN), _number(values, _HEADS)
    if kind in _READS_HEAD_DIM or hidden is None or heads is None:
        return
    if values[hidden] == values[heads] * before:
        yield hidden, values[heads] * after


def _genai_config(values: Mapping[str, Any], before: int, after: int) -> dict[str, Any] | None:
    model = values.get("model")
    decoder = model.get("decoder") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(decoder, dict) or decoder.get("head_size") != before:
        return None
    return {**values, "model": {**model, "decoder": {**decoder, "head_size": after}}}


def _number(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return which of ``names`` the file has a number under."""
    return next((name for name in names if isinstance(values.get(name), int)), None)
