import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.tokenization import TextEncoder, load_text_encoder
from squeeze_onnx.support.errors import OptionError, TokenizerError
from tests.text_models import SPECIAL, write_tokenizer

WORDS = ("a", "b", "c", "d", "e")
PAD, UNK, CLS, SEP = range(len(SPECIAL))
A, B, C, D, E = range(len(SPECIAL), len(SPECIAL) + len(WORDS))


def encoder(folder: Path, *, max_tokens: int = 128, config: ModelConfig | None = None) -> TextEncoder:
    write_tokenizer(folder, WORDS)
    return load_text_encoder(folder, config or ModelConfig(), max_tokens=max_tokens)


def test_sentences_and_pairs_get_their_special_tokens_and_types(tmp_path: Path) -> None:
    sentence, pair = encoder(tmp_path).encode([("a b",), ("a", "c d")])
    np.testing.assert_array_equal(sentence.ids, [CLS, A, B, SEP])
    np.testing.assert_array_equal(sentence.type_ids, [0, 0, 0, 0])
    np.testing.assert_array_equal(pair.ids, [CLS, A, SEP, C, D, SEP])
    np.testing.assert_array_equal(pair.type_ids, [0, 0, 0, 1, 1, 1])


def test_the_longer_text_of_a_pair_is_truncated_first(tmp_path: Path) -> None:
    [pair] = encoder(tmp_path, max_tokens=7).encode([("a b", "a b c d e")])
    np.testing.assert_array_equal(pair.ids, [CLS, A, B, SEP, A, B, SEP])


def test_padding_and_truncation_in_the_file_are_set_aside(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path, WORDS)
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_padding(length=40)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(path))
    [sentence] = load_text_encoder(tmp_path, ModelConfig()).encode([("a b c d e",)])
    np.testing.assert_array_equal(sentence.ids, [CLS, A, B, C, D, E, SEP])


def test_a_tokenizer_file_may_be_named_itself(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path, WORDS)
    path.rename(tmp_path / "other.json")
    assert load_text_encoder(tmp_path / "other.json", ModelConfig()).path == tmp_path / "other.json"


class TestLongestSequence:
    def test_the_model_has_fewer_positions(self, tmp_path: Path) -> None:
        assert encoder(tmp_path, config=ModelConfig(max_tokens=64)).max_tokens == 64

    def test_the_tokenizer_config_knows_better(self, tmp_path: Path) -> None:
        write_settings(tmp_path, {"model_max_length": 50})
        assert encoder(tmp_path, config=ModelConfig(max_tokens=64)).max_tokens == 50

    def test_a_tokenizer_config_without_a_limit_says_so_with_a_huge_number(self, tmp_path: Path) -> None:
        write_settings(tmp_path, {"model_max_length": 1000000000000000019884624838656})
        assert encoder(tmp_path).max_tokens == 128

    def test_there_must_be_room_for_two_texts(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="`max_tokens` 4 leaves no room for two texts beside 3 special tokens"):
            encoder(tmp_path, max_tokens=4)


def write_settings(folder: Path, values: dict[str, Any]) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")


class TestPadding:
    @pytest.mark.parametrize("token", ["c", {"content": "c"}], ids=["by name", "as an object"])
    def test_the_tokenizer_config_names_the_token(self, tmp_path: Path, token: object) -> None:
        write_settings(tmp_path, {"pad_token": token})
        assert encoder(tmp_path, config=ModelConfig(pad_id=1)).padding.token == C

    def test_else_the_model_config_has_the_id(self, tmp_path: Path) -> None:
        assert encoder(tmp_path, config=ModelConfig(pad_id=B)).padding.token == B

    def test_else_the_tokenizer_pads_itself(self, tmp_path: Path) -> None:
        path = write_tokenizer(tmp_path, WORDS)
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.enable_padding(pad_id=D, pad_token="d")
        tokenizer.save(str(path))
        assert load_text_encoder(tmp_path, ModelConfig()).padding.token == D

    def test_else_it_is_zero(self, tmp_path: Path) -> None:
        assert encoder(tmp_path).padding.token == 0


class TestBadTokenizers:
    def test_a_missing_one_names_the_file_and_the_way_out(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerError, match=r"tokenizer\.json does not exist; .* with `tokenizer`"):
            load_text_encoder(tmp_path, ModelConfig())

    def test_a_broken_one_names_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
        with pytest.raises(TokenizerError, match=r"tokenizer\.json is not a tokenizer that"):
            load_text_encoder(tmp_path, ModelConfig())

    def test_one_that_fits_the_vocabulary_passes(self, tmp_path: Path) -> None:
        encoder(tmp_path).check_vocabulary(E + 1, Path("model.onnx"))

    def test_one_of_a_larger_vocabulary_names_both_numbers(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerError, match=rf"token ids up to {E}, but model\.onnx has {E} tokens only"):
            encoder(tmp_path).check_vocabulary(E, Path("model.onnx"))

    def test_a_text_without_tokens_is_named(self, tmp_path: Path) -> None:
        path = write_tokenizer(tmp_path, WORDS)
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**content, "post_processor": None}), encoding="utf-8")
        with pytest.raises(TokenizerError, match="makes no token of ' '"):
            load_text_encoder(tmp_path, ModelConfig()).encode([("a",), (" ",)])
