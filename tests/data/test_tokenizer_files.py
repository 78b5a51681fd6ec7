"""Tokenizers without a tokenizer.json: what is built of vocab.txt is what transformers builds, others are refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers

from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.repository import repository_of
from squeeze_onnx.data.sentence_files import TextLimits
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.data.tokenizer_files import load_tokenizer, lower_cased, tokenizer_place
from squeeze_onnx.support.errors import OptionError, TokenizerError
from tests.text_models import write_tokenizer

BERT = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "film",
    "Film",
    "##s",
    "caf",
    "##e",
    "##é",
    "!",
    "中",
    "国",
]
MPNET = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *BERT[5:]]
TEXTS = [("The films!",), ("Café", "the FILM 中国"), ("unknown words",)]

IN_TRANSFORMERS = """
import json, sys
from transformers import AutoTokenizer
folders, texts = map(json.loads, sys.argv[1:])
tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in folders]
print(json.dumps([[tokenizer(*row)["input_ids"] for row in texts] for tokenizer in tokenizers]))
"""

CASES: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "bert": (BERT, {"tokenizer_class": "BertTokenizer"}, "bert"),
    "cased": (BERT, {"tokenizer_class": "BertTokenizer", "do_lower_case": False}, "bert"),
    "accents": (BERT, {"tokenizer_class": "BertTokenizer", "strip_accents": False}, "bert"),
    "chinese": (BERT, {"tokenizer_class": "DistilBertTokenizerFast", "tokenize_chinese_chars": False}, "distilbert"),
    "told by the model type": (BERT, {}, "electra"),
    "mpnet": (MPNET, {"tokenizer_class": "MPNetTokenizer"}, "mpnet"),
}


def write(folder: Path, vocabulary: list[str], settings: dict[str, Any], config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def in_transformers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[list[int]]]]:
    """Return for each case its folder and the ids that transformers makes of `TEXTS`."""
    root = tmp_path_factory.mktemp("vocabularies")
    folders = [
        write(root / str(number), vocabulary, settings, {"model_type": kind})
        for number, (vocabulary, settings, kind) in enumerate(CASES.values())
    ]
    command = [
        sys.executable,
        "-c",
        IN_TRANSFORMERS,
        json.dumps([str(folder) for folder in folders]),
        json.dumps(TEXTS),
    ]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {name: (folder, ids) for name, folder, ids in zip(CASES, folders, told, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_a_vocabulary_of_word_piece_is_read_as_transformers_reads_it(
    in_transformers: dict[str, tuple[Path, list[list[int]]]], name: str
) -> None:
    folder, expected = in_transformers[name]
    tokenizer, path = load_tokenizer(folder)
    assert [tokenizer.encode(*texts).ids for texts in TEXTS] == expected
    assert path == folder / "vocab.txt"


def test_kinds_of_tokens_tell_the_texts_of_a_pair_apart(tmp_path: Path) -> None:
    tokenizer, _ = load_tokenizer(write(tmp_path, BERT, {"tokenizer_class": "BertTokenizer"}, {}))
    assert tokenizer.encode("the", "film").type_ids == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        (
            ("spiece.model",),
            {},
            r"spiece\.model is a SentencePiece model, which is not read: AutoTokenizer.*save_pretrained",
        ),
        (("sentencepiece.bpe.model", "vocab.txt"), {}, "is a SentencePiece model"),
        (("source.spm",), {}, r"source\.spm is a SentencePiece model"),
        (("vocab.json", "merges.txt"), {}, r"vocab\.json with merges\.txt is not read: AutoTokenizer"),
        (("vocab.txt",), {"tokenizer_class": "PhobertTokenizer"}, r"nothing says that vocab\.txt is of WordPiece"),
        (("vocab.txt",), {}, r"nothing says that vocab\.txt is of WordPiece"),
        ((), {}, r"tokenizer\.json does not exist; name a tokenizer\.json"),
    ],
)
def test_others_are_refused_with_the_way_out(
    tmp_path: Path, files: tuple[str, ...], settings: dict[str, Any], message: str
) -> None:
    for name in files:
        (tmp_path / name).touch()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(TokenizerError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)


def test_a_vocabulary_without_a_token_that_every_text_needs_is_refused(tmp_path: Path) -> None:
    write(tmp_path, BERT[:3] + BERT[4:], {"tokenizer_class": "BertTokenizer"}, {})
    with pytest.raises(TokenizerError, match=r"vocab\.txt has no token \[SEP\]"):
        load_tokenizer(tmp_path)


def test_the_tokenizer_beside_the_encoder_is_found_from_a_model_one_folder_down(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    write(tmp_path, BERT, {"tokenizer_class": "BertTokenizer"}, {"model_type": "bert"})
    assert tokenizer_place(repository_of(tmp_path / "onnx" / "model.onnx")) == tmp_path
    write_tokenizer(tmp_path / "onnx", ["the"])
    assert tokenizer_place(repository_of(tmp_path / "onnx" / "model.onnx")) == tmp_path / "onnx"


class TestLowerCase:
    def test_text_is_lower_cased_once(self, tmp_path: Path) -> None:
        write_tokenizer(tmp_path, ["the", "film"])
        tokenizer, _ = load_tokenizer(tmp_path)
        assert lower_cased(tokenizer)
        assert tokenizer.encode("THE Film").tokens == ["[CLS]", "the", "film", "[SEP]"]
        assert not lower_cased(tokenizer)

    def test_a_normalizer_that_does_it_already_stays(self, tmp_path: Path) -> None:
        tokenizer = Tokenizer.from_file(str(write_tokenizer(tmp_path, ["the"])))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        assert not lower_cased(tokenizer)
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        assert lower_cased(tokenizer)

    def test_what_the_encoders_file_says_is_done(self, tmp_path: Path) -> None:
        write_tokenizer(tmp_path, ["the"])
        (tmp_path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
        encoder = load_text_encoder(tmp_path, read_settings(tmp_path / "model.onnx"))
        assert encoder.changed
        assert encoder.tokenizer.encode("THE").tokens == ["[CLS]", "the", "[SEP]"]


class TestLength:
    @pytest.mark.parametrize(
        ("limits", "usual", "positions", "expected"),
        [
            (None, None, None, 128),
            (None, 50, None, 50),
            (256, 50, None, 256),  # it overrules the tokenizer, as in sentence-transformers
            (256, None, 100, 100),
        ],
    )
    def test_what_the_encoders_file_says_is_the_default(
        self, tmp_path: Path, limits: int | None, usual: int | None, positions: int | None, expected: int
    ) -> None:
        write_tokenizer(tmp_path, ["the"])
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": usual}))
        config = ModelConfig(max_tokens=positions, text_limits=TextLimits(limits))
        assert load_text_encoder(tmp_path, config).max_tokens == expected

    @pytest.mark.parametrize("asked", [20, 64])
    def test_what_is_asked_for_counts_more(self, tmp_path: Path, asked: int) -> None:
        write_tokenizer(tmp_path, ["the"])
        config = ModelConfig(text_limits=TextLimits(32))
        assert load_text_encoder(tmp_path, config, max_tokens=asked).max_tokens == asked

    def test_one_that_leaves_no_room_is_refused(self, tmp_path: Path) -> None:
        write_tokenizer(tmp_path, ["the"])
        with pytest.raises(OptionError, match="`max_tokens` 4 leaves no room"):
            load_text_encoder(tmp_path, ModelConfig(text_limits=TextLimits(4)))


@pytest.mark.parametrize(("side", "expected"), [("left", ["c", "d", "d"]), ("right", ["a", "a", "b"])])
def test_long_texts_are_cut_at_the_end_that_the_settings_name(tmp_path: Path, side: str, expected: list[str]) -> None:
    write_tokenizer(tmp_path, ["a", "b", "c", "d"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"truncation_side": side, "padding_side": side}))
    encoder = load_text_encoder(tmp_path, ModelConfig(), max_tokens=5)
    assert encoder.tokenizer.encode("a a b c d d").tokens[1:-1] == expected
    assert encoder.padding.left == (side == "left")
