import json
from pathlib import Path
from typing import Any

import pytest

from squeeze_onnx.data.model_config import ModelConfig, read_model_config, read_settings
from squeeze_onnx.support.errors import ModelError
from tests.sentence_models import write


def write_config(folder: Path, values: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_without_the_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_model_config(tmp_path) == ModelConfig()


def test_a_classifier_as_transformers_writes_it(tmp_path: Path) -> None:
    config = read_model_config(
        write_config(
            tmp_path,
            {
                "architectures": ["BertForSequenceClassification"],
                "id2label": {"1": "positive", "0": "negative"},
                "vocab_size": 30522,
                "max_position_embeddings": 512,
                "pad_token_id": 0,
                "model_type": "bert",
            },
        )
    )
    assert config.classifies_sequences
    assert config.labels == ("negative", "positive")
    assert (config.vocabulary_size, config.max_tokens, config.first_position, config.pad_id) == (30522, 512, 0, 0)


def test_an_encoder_classifies_nothing(tmp_path: Path) -> None:
    assert not read_model_config(write_config(tmp_path, {"architectures": ["BertModel"]})).classifies_sequences


@pytest.mark.parametrize("model_type", ["roberta", "mpnet", "xlm-roberta"])
def test_positions_that_start_behind_the_padding_leave_fewer_tokens(tmp_path: Path, model_type: str) -> None:
    values = {"model_type": model_type, "max_position_embeddings": 514, "pad_token_id": 1}
    config = read_model_config(write_config(tmp_path, values))
    assert (config.max_tokens, config.first_position) == (512, 2)


@pytest.mark.parametrize(
    ("limits", "told", "expected"),
    [
        ({"max_seq_length": 32}, 200, 32),
        ({"transformer_task": "feature-extraction"}, 200, 200),
        (None, 10**30, 256),
        ({"max_seq_length": None}, None, 256),
    ],
)
def test_sentence_transformers_cuts_as_the_tokenizer_says_where_its_own_file_is_silent(
    tmp_path: Path, limits: dict[str, Any] | None, told: int | None, expected: int
) -> None:
    """Version 5.7 of the package writes no max_seq_length any more."""
    write_config(tmp_path, {"model_type": "bert", "max_position_embeddings": 256})
    write(tmp_path / "tokenizer_config.json", {"model_max_length": told})
    if limits is not None:
        write(tmp_path / "sentence_bert_config.json", limits)
    assert read_settings(tmp_path / "model.onnx").text_limits.max_tokens == (limits or {}).get("max_seq_length")
    write(
        tmp_path / "modules.json", [{"type": "sentence_transformers.base.modules.transformer.Transformer", "path": ""}]
    )
    assert read_settings(tmp_path / "model.onnx").text_limits.max_tokens == expected


def test_gpt_2_calls_its_positions_otherwise(tmp_path: Path) -> None:
    assert read_model_config(write_config(tmp_path, {"n_positions": 1024})).max_tokens == 1024


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], r"config\.json is not a JSON object"),
        ({"vocab_size": "many"}, r"config\.json: vocab_size is 'many', not a number"),
        ({"id2label": {"0": "a", "2": "b"}}, r"config\.json: id2label does not number its labels"),
        ({"id2label": ["a", "b"]}, r"config\.json: id2label is not an object"),
    ],
    ids=["a list", "a word for a number", "labels with a gap", "labels in a list"],
)
def test_a_malformed_config_names_file_and_key(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_model_config(write_config(tmp_path, values))


def test_a_config_that_is_no_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json is not a readable JSON file"):
        read_model_config(tmp_path)
