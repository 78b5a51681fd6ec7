"""What config.json and genai_config.json say of the size of a head, as runtimes read it."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from squeeze_onnx.data.head_size import write_head_size
from squeeze_onnx.data.repository import Repository

CONFIGS = {
    "hidden size by heads": (
        {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 8},
        {"hidden_size": 48, "squeeze_onnx": {"hidden_size": 64}},
    ),
    "both": (
        {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 8, "head_dim": 8},
        {"hidden_size": 48, "head_dim": 6, "squeeze_onnx": {"hidden_size": 64, "head_dim": 8}},
    ),
    "head_dim alone is read": (
        {"model_type": "gemma", "hidden_size": 64, "num_attention_heads": 8, "head_dim": 8},
        {"head_dim": 6, "squeeze_onnx": {"head_dim": 8}},
    ),
    "other names": (
        {"model_type": "gpt2", "n_embd": 64, "n_head": 8},
        {"n_embd": 48, "squeeze_onnx": {"n_embd": 64}},
    ),
    "a hidden size of its own": (
        {"model_type": "qwen3", "hidden_size": 32, "num_attention_heads": 8, "head_dim": 8},
        {"head_dim": 6, "squeeze_onnx": {"head_dim": 8}},
    ),
    "the second time": (
        {"hidden_size": 64, "num_attention_heads": 8, "squeeze_onnx": {"hidden_size": 96}},
        {"hidden_size": 48, "squeeze_onnx": {"hidden_size": 96}},
    ),
    "nothing": ({"hidden_size": 65, "num_attention_heads": 8}, {}),
}


@pytest.mark.parametrize(("config", "changed"), CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("inner", [False, True], ids=["", "of a text_config"])
def test_config_says_the_new_size(tmp_path: Path, config: dict[str, Any], changed: dict[str, Any], inner: bool) -> None:
    kind = config.get("model_type")
    written = {"model_type": kind, "text_config": config} if inner else config
    (tmp_path / "config.json").write_text(json.dumps(written))
    found = write_head_size(Repository(tmp_path, PurePosixPath("model.onnx")), tmp_path, 8, 6)
    assert found == (("config.json",) if changed else ())
    expected = config | changed
    assert json.loads((tmp_path / "config.json").read_text()) == (
        {"model_type": kind, "text_config": expected} if inner else expected
    )


@pytest.mark.parametrize(("size", "after"), [(8, 6), (9, 9)])
def test_genai_config_says_it_too(tmp_path: Path, size: int, after: int) -> None:
    config = {"model": {"decoder": {"head_size": size, "filename": "model.onnx"}}, "search": {}}
    (tmp_path / "genai_config.json").write_text(json.dumps(config))
    found = write_head_size(Repository(tmp_path, PurePosixPath("model.onnx")), tmp_path, 8, 6)
    assert found == (("genai_config.json",) if size == 8 else ())
    config["model"]["decoder"]["head_size"] = after
    assert json.loads((tmp_path / "genai_config.json").read_text()) == config
