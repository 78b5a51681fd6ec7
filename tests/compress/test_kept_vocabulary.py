"""A part of the vocabulary: what stays answers as before, whatever kind the tokenizer is of, and all files follow."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from squeeze_onnx.compress import kept_vocabulary
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.kept_vocabulary import KeptVocabulary, keep_vocabulary
from squeeze_onnx.support.errors import ModelError, OptionError, TokenizerError
from tests.kept_words import ENGLISH, KINDS, STRANGE, write_folder


def keep(whole: Path, out: Path, *sources: str) -> KeptVocabulary:
    return keep_vocabulary(whole, OptimizeConfig(keep_vocabulary=sources), None, out)


def read(folder: Path, name: str = "config.json") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def tokenizer_of(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def answers(folder: Path, text: str) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, {"input_ids": np.array([tokenizer_of(folder).encode(text).ids])})[0]
    return answer


def texts_file(path: Path, texts: Sequence[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, KeptVocabulary]:
    """Return a model, the same with what is in `ENGLISH`, and what was said of that."""
    folder = tmp_path_factory.mktemp("kept")
    whole, part = write_folder(folder / "whole", request.param, compared=0), folder / "part"
    part.mkdir()
    return whole, part, keep(whole, part, texts_file(folder / "english.txt", ENGLISH))


class TestOfTexts:
    def test_what_stays_is_cut_as_before_and_answered_as_before(self, kept: tuple[Path, Path, KeptVocabulary]) -> None:
        whole, part, _ = kept
        before, after = tokenizer_of(whole), tokenizer_of(part)
        for text in (*ENGLISH, "the new river"):
            assert before.encode(text).tokens == after.encode(text).tokens
            np.testing.assert_array_equal(answers(whole, text), answers(part, text))

    def test_less_stays_and_no_row_is_left_over(self, kept: tuple[Path, Path, KeptVocabulary]) -> None:
        _, part, told = kept
        assert told.tokens[1] < told.tokens[0] < told.rows[0]
        assert told.sizes[1].bytes < told.sizes[0].bytes
        assert told.tokens[1] == told.rows[1] == len(tokenizer_of(part).get_vocab()) == read(part)["vocab_size"]

    @pytest.mark.parametrize("text", STRANGE)
    def test_any_other_text_is_still_read(self, kept: tuple[Path, Path, KeptVocabulary], text: str) -> None:
        assert np.isfinite(answers(kept[1], text)).all()

    def test_all_files_follow(self, kept: tuple[Path, Path, KeptVocabulary]) -> None:
        _, part, told = kept
        tokenizer, config = tokenizer_of(part), read(part)
        pad, end, mask = map(tokenizer.token_to_id, ("[PAD]", "[SEP]", "[MASK]"))
        assert (config["pad_token_id"], config["eos_token_id"]) == (pad, [end, mask])
        assert (config["type_vocab_size"], config["bos_token_id"]) == (2, None)
        assert read(part, "generation_config.json") == {"decoder_start_token_id": mask}
        assert list(read(part, "tokenizer_config.json")["added_tokens_decoder"]) == [str(mask)]
        assert read(part, "added_tokens.json") == {"[MASK]": mask}
        lines = (part / "vocab.txt").read_text(encoding="utf-8").splitlines()
        assert lines == sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
        assert told.left_out == ("sentencepiece.bpe.model",)
        assert not (part / "sentencepiece.bpe.model").exists()


def test_a_word_that_was_unknown_stays_so(tmp_path: Path) -> None:
    """``abcd`` begins with the token ``abc``, and no token goes on; with ``ab`` alone one would."""
    vocabulary = {
        token: number for number, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "ab", "abc", "##cd"))
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[MASK]"])
    whole, part = write_folder(tmp_path / "whole", "WordPiece", tokenizer), tmp_path / "part"
    part.mkdir()
    keep(whole, part, texts_file(tmp_path / "texts.txt", ["abcd", "ab", "abcd abcd"]))
    assert tokenizer_of(part).encode("abcd").tokens == tokenizer_of(whole).encode("abcd").tokens == ["[UNK]"]


def test_a_vocabulary_without_tokenizer_json_gets_one(tmp_path: Path) -> None:
    whole, part = write_folder(tmp_path / "whole", "WordPiece"), tmp_path / "part"
    part.mkdir()
    settings = read(whole, "tokenizer_config.json")
    settings["added_tokens_decoder"]["123456"] = {"content": "of another model"}
    (whole / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "BertTokenizer"}), encoding="utf-8"
    )
    before = tokenizer_of(whole)
    (whole / "tokenizer.json").unlink()
    keep(whole, part, texts_file(tmp_path / "texts.txt", ENGLISH))
    assert all(tokenizer_of(part).encode(text).tokens == before.encode(text).tokens for text in ENGLISH)
    assert list(read(part, "tokenizer_config.json")["added_tokens_decoder"]) == [
        str(tokenizer_of(part).token_to_id("[MASK]"))
    ]


def test_a_language_keeps_its_script(tmp_path: Path) -> None:
    whole, part = write_folder(tmp_path / "whole", "Unigram"), tmp_path / "part"
    part.mkdir()
    told = keep(whole, part, "bg")
    assert (told.scripts, told.texts) == (("CYRILLIC",), 0)
    before, after = tokenizer_of(whole), tokenizer_of(part)
    text = "новая река"
    assert before.encode(text).tokens == after.encode(text).tokens
    assert not any("river" in token for token in after.get_vocab())


class TestRefused:
    def test_a_number_that_the_graph_compares_ids_with(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Unless it is a small one: all tokens up to that stay then."""
        last = tokenizer_of(write_folder(tmp_path / "any", "BPE")).token_to_id("[MASK]")
        whole, texts = (
            write_folder(tmp_path / "whole", "BPE", compared=last),
            texts_file(tmp_path / "texts.txt", ENGLISH),
        )
        (tmp_path / "all").mkdir()
        assert keep(whole, tmp_path / "all", texts).tokens[1] == last + 1
        monkeypatch.setattr(kept_vocabulary, "_FEW", 1)
        with pytest.raises(
            ModelError, match=rf"compares token ids with {last} \(\[MASK\]\).*leave out `keep_vocabulary`"
        ):
            keep(whole, tmp_path, texts)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("xx", r"is no file, and no language that is known \(af, "),
            ("glue:sst2", "needs the `data` that `calibration` reads"),
            ("saved.npz", "holds numbers of tokens"),
            ("", "each once"),
        ],
    )
    def test_what_is_no_text(self, tmp_path: Path, source: str, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            keep(write_folder(tmp_path / "whole", "WordPiece"), tmp_path, source)

    def test_a_tokenizer_of_an_unknown_kind(self, tmp_path: Path) -> None:
        whole = write_folder(tmp_path / "whole", "WordPiece")
        document = read(whole, "tokenizer.json")
        document["post_processor"] = {"type": "Sequence", "processors": [{"type": "Novel"}]}
        (whole / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(TokenizerError, match="tokenizer that `tokenizers` can read"):
            keep(whole, tmp_path, "en")
