"""Where calibration data comes from: text, a task's train split, saved inputs."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.compress.calibration_entry import calibration_entry
from squeeze_onnx.compress.calibration_source import CalibrationConfig, calibration_rows, load_calibration
from squeeze_onnx.compress.text_amounts import Amount
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.support.errors import DataError, OptionError, TokenizerError
from tests.text_models import SPECIAL, write_tokenizer
from tests.tiny_encoder import SENTENCES, WORDS, batch, encoder_model, write_model_folder


def write_text(folder: Path, sentences: tuple[str, ...] = SENTENCES) -> str:
    (folder / "text.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return str(folder / "text.txt")


def write_train(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def texts_of(batches: Sequence[CalibrationBatch]) -> list[str]:
    """Return what the batches say, special tokens included."""
    tokens = (*SPECIAL, *WORDS)
    return [
        " ".join(tokens[index] for index, shown in zip(ids, mask, strict=True) if shown)
        for each in batches
        for ids, mask in zip(each.feeds["input_ids"], each.feeds["attention_mask"], strict=True)
    ]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    return load_model(write_model_folder(tmp_path_factory.mktemp("calibration") / "encoder"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    folder = tmp_path_factory.mktemp("calibration") / "classifier"
    architectures = ["BertForSequenceClassification"]
    return load_model(write_model_folder(folder, encoder_model(classifier=True), architectures=architectures))


class TestText:
    def test_is_one_sentence_a_line(self, encoder: OnnxModel, tmp_path: Path) -> None:
        batches = load_calibration(encoder, CalibrationConfig(write_text(tmp_path), batch_size=2))
        assert sorted(texts_of(batches)) == sorted(f"[CLS] {sentence} [SEP]" for sentence in SENTENCES)
        assert [len(each.feeds["input_ids"]) for each in batches] == [2, 2]
        for each in batches:
            assert each.mask is not None
            np.testing.assert_array_equal(each.mask, each.feeds["attention_mask"])

    def test_repeated_is_read_once(self, encoder: OnnxModel, tmp_path: Path) -> None:
        source = write_text(tmp_path, (*SENTENCES, *SENTENCES))
        assert len(texts_of(load_calibration(encoder, CalibrationConfig(source)))) == len(SENTENCES)

    def test_of_a_table_stays_in_pairs(self, classifier: OnnxModel, tmp_path: Path) -> None:
        first, second, *_ = SENTENCES
        rows = f'{{"premise": "{first}", "hypothesis": "{second}", "label": 1}}\n'
        (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
        config = CalibrationConfig(str(tmp_path / "rows.jsonl"))
        read = load_calibration(classifier, config)
        assert texts_of(read) == [f"[CLS] {first} [SEP] {second} [SEP]"]
        assert calibration_entry(config, read, read) == {
            "source": config.source,
            "read_as": "JSON Lines",
            "columns": {"text": "premise", "text2": "hypothesis", "label": None},
            "columns_guessed": True,
            "rows": 1,
            "rows_weighed": 1,
            "tokens_needed": None,
            "held_back": 0,
            "seed": 0,
        }

    def test_of_a_table_is_in_the_columns_that_are_named(self, classifier: OnnxModel, tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text(f"text,remark\nred,{SENTENCES[0]}\n", encoding="utf-8")
        config = CalibrationConfig(str(tmp_path / "rows.csv"), columns="text=remark")
        assert texts_of(load_calibration(classifier, config)) == [f"[CLS] {SENTENCES[0]} [SEP]"]

    @pytest.mark.parametrize("source", ["glue:sst2", "inputs.npz"])
    def test_without_columns_names_none(self, source: str) -> None:
        with pytest.raises(OptionError, match=f"`columns` names those of a table, and `calibration` {source} is none"):
            CalibrationConfig(source, "glue", columns="text=a")

    def test_is_drawn_by_the_seed(self, encoder: OnnxModel, tmp_path: Path) -> None:
        source = write_text(tmp_path, tuple(f"{first} {second}" for first in WORDS[:5] for second in WORDS[:5]))

        def drawn(seed: int) -> list[str]:
            return texts_of(load_calibration(encoder, CalibrationConfig(source, rows=6, seed=seed)))

        assert len(drawn(0)) == 6
        assert drawn(0) == drawn(0)
        assert set(drawn(0)) != set(drawn(1))

    def test_is_read_as_far_as_there_is_room_unless_rows_are_asked_for(
        self, encoder: OnnxModel, tmp_path: Path
    ) -> None:
        source = write_text(tmp_path, tuple(f"{first} {second}" for first in WORDS[:5] for second in WORDS[:5]))

        def read(usual: Amount, rows: int | None = None) -> int:
            return len(texts_of(load_calibration(encoder, CalibrationConfig(source, rows=rows), usual)))

        assert read(Amount(7)) == 7
        assert read(Amount(7, tokens=23)) == 5  # of four tokens each
        assert read(Amount(7, tokens=24)) == 6
        assert read(Amount(7, tokens=1)) == 1
        assert read(Amount(7, tokens=24), rows=8) == 8

    def test_is_cut_to_the_length_asked_for(self, encoder: OnnxModel, tmp_path: Path) -> None:
        batches = load_calibration(encoder, CalibrationConfig(write_text(tmp_path), max_tokens=5))
        assert max(each.feeds["input_ids"].shape[1] for each in batches) == 5

    def test_with_an_empty_line_is_refused(self, encoder: OnnxModel, tmp_path: Path) -> None:
        source = write_text(tmp_path, ("good", " ", "bad"))
        with pytest.raises(DataError, match=r"text\.txt line 2 is empty"):
            load_calibration(encoder, CalibrationConfig(source))

    def test_that_is_missing_is_refused(self, encoder: OnnxModel, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="none"):
            load_calibration(encoder, CalibrationConfig(str(tmp_path / "none")))


class TestHeldBack:
    TEXTS = tuple(" ".join(pair) for pair in product(WORDS[:20], repeat=2))

    def test_text_is_what_lies_beyond_calibration(self, encoder: OnnxModel, tmp_path: Path) -> None:
        config = CalibrationConfig(write_text(tmp_path, self.TEXTS), rows=100)
        calibration = load_calibration(encoder, config)
        read, held_back = texts_of(calibration), texts_of(calibration.held_back)
        assert sorted(read) == sorted(f"[CLS] {text} [SEP]" for [text] in calibration_rows(config))
        assert len(held_back) == 256
        assert not {*read} & {*held_back}
        assert {*read, *held_back} <= {f"[CLS] {text} [SEP]" for text in self.TEXTS}

    def test_long_texts_are_held_back_by_their_tokens(self, encoder: OnnxModel, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        long = tuple(" ".join(rng.choice(WORDS, 120)) for _ in range(200))
        calibration = load_calibration(encoder, CalibrationConfig(write_text(tmp_path, long), rows=80))
        assert len(texts_of(calibration.held_back)) == 8192 // 122

    def test_text_is_what_has_no_room_among_the_tokens(self, encoder: OnnxModel, tmp_path: Path) -> None:
        calibration = load_calibration(
            encoder, CalibrationConfig(write_text(tmp_path, self.TEXTS)), Amount(400, tokens=1200)
        )
        assert (len(texts_of(calibration)), len(texts_of(calibration.held_back))) == (300, 100)

    def test_text_of_a_source_that_is_read_whole_is_a_share_of_it(self, encoder: OnnxModel, tmp_path: Path) -> None:
        calibration = load_calibration(encoder, CalibrationConfig(write_text(tmp_path, self.TEXTS)))
        read, held_back = texts_of(calibration), texts_of(calibration.held_back)
        assert (len(read), len(held_back)) == (350, 50)
        assert not {*read} & {*held_back}

    def test_text_is_none_of_what_judges_a_budget(self, encoder: OnnxModel, tmp_path: Path) -> None:
        config = CalibrationConfig(write_text(tmp_path, self.TEXTS), rows=100)
        calibration = load_calibration(encoder, config, taken=self.TEXTS[:300])
        assert not {*texts_of(calibration.held_back)} & {f"[CLS] {text} [SEP]" for text in self.TEXTS[:300]}

    def test_what_is_read_beyond_calibration_is_none_of_it_either(
        self, encoder: OnnxModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("squeeze_onnx.compress.calibration_source.TO_CALIBRATE", Amount(50))
        config = CalibrationConfig(write_text(tmp_path, self.TEXTS))
        first = {f"[CLS] {text} [SEP]" for [text] in calibration_rows(config, Amount(50))}
        judging = {f"[CLS] {text} [SEP]" for text in self.TEXTS[:300]}
        read = {*texts_of(load_calibration(encoder, config, Amount(400), taken=self.TEXTS[:300]))}
        assert first & judging
        assert not (read - first) & judging
        assert len(read) > 100

    def test_text_is_none_that_differs_in_unknown_words_only(self, encoder: OnnxModel, tmp_path: Path) -> None:
        texts = tuple(f"{first} nowhere{number}" for number in range(30) for first in WORDS[:4])
        calibration = load_calibration(encoder, CalibrationConfig(write_text(tmp_path, texts), rows=90))
        assert calibration.held_back == ()

    def test_text_of_a_pair_is_in_no_other_part(self, encoder: OnnxModel, tmp_path: Path) -> None:
        rows = [f"{first}\t{second} {second}\t?" for first in WORDS[:20] for second in WORDS]
        data = write_train(tmp_path, "MRPC", "sentence1\tsentence2\tlabel", *rows)
        calibration = load_calibration(encoder, CalibrationConfig("glue:mrpc", data, rows=20))
        assert texts_of(calibration.held_back)
        assert not {*texts_of(calibration)} & {*texts_of(calibration.held_back)}

    def test_samples_are_a_share_of_them(self, encoder: OnnxModel, tmp_path: Path) -> None:
        ids = np.arange(36).reshape(18, 2)
        np.savez(tmp_path / "inputs.npz", input_ids=ids, attention_mask=np.ones_like(ids))
        calibration = load_calibration(encoder, CalibrationConfig(str(tmp_path / "inputs.npz"), batch_size=4))
        read, held_back = (
            np.concatenate([each.feeds["input_ids"] for each in batches])
            for batches in (calibration, calibration.held_back)
        )
        assert [len(each.feeds["input_ids"]) for each in calibration] == [4, 4, 4, 2]
        assert len(held_back) == 4
        np.testing.assert_array_equal(np.sort(np.concatenate([read, held_back]), axis=0), ids)
        for each in calibration.held_back:
            np.testing.assert_array_equal(each.mask, each.feeds["attention_mask"])

    def test_nothing_is_of_a_few_texts_or_samples(self, encoder: OnnxModel, tmp_path: Path) -> None:
        arrays: dict[str, Any] = batch()
        np.savez(tmp_path / "inputs.npz", **arrays)
        for source in (write_text(tmp_path), str(tmp_path / "inputs.npz")):
            assert load_calibration(encoder, CalibrationConfig(source)).held_back == ()


class TestTokenizer:
    def test_of_another_place_is_used_if_named(self, encoder: OnnxModel, tmp_path: Path) -> None:
        reverse = write_tokenizer(tmp_path / "reverse", WORDS[::-1])
        source = write_text(tmp_path, (WORDS[0],))
        [only] = load_calibration(encoder, CalibrationConfig(source, tokenizer=reverse))
        assert only.feeds["input_ids"][0, 1] == len(SPECIAL) + len(WORDS) - 1

    def test_of_a_larger_vocabulary_is_refused(self, encoder: OnnxModel, tmp_path: Path) -> None:
        larger = write_tokenizer(tmp_path / "larger", [*WORDS, "unseen"])
        config = CalibrationConfig(write_text(tmp_path), tokenizer=larger)
        with pytest.raises(TokenizerError, match=r"makes token ids up to 40, but .* has 40 tokens only"):
            load_calibration(encoder, config)

    def test_that_is_missing_is_refused(self, tmp_path: Path) -> None:
        folder = write_model_folder(tmp_path / "model")
        (folder / "tokenizer.json").unlink()
        with pytest.raises(TokenizerError, match="`tokenizer`"):
            load_calibration(load_model(folder), CalibrationConfig(write_text(tmp_path)))


class TestTask:
    ROWS = ("sentence1\tsentence2\tlabel", "the film\tthe movie\t?", "a plot\ta scene\t?", "the film\tthe movie\t!")

    def test_pairs_are_read_together_by_a_classifier(self, classifier: OnnxModel, tmp_path: Path) -> None:
        data = write_train(tmp_path, "MRPC", *self.ROWS)
        batches = load_calibration(classifier, CalibrationConfig("glue:mrpc", data))
        assert sorted(texts_of(batches)) == ["[CLS] a plot [SEP] a scene [SEP]", "[CLS] the film [SEP] the movie [SEP]"]

    def test_pairs_are_read_apart_by_an_encoder(self, encoder: OnnxModel, tmp_path: Path) -> None:
        data = write_train(tmp_path, "MRPC", *self.ROWS)
        batches = load_calibration(encoder, CalibrationConfig("glue:mrpc", data))
        expected = [f"[CLS] {text} [SEP]" for text in ("a plot", "a scene", "the film", "the movie")]
        assert sorted(texts_of(batches)) == expected

    def test_without_a_train_split_is_refused(self, encoder: OnnxModel, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="has no train split of mrpc"):
            load_calibration(encoder, CalibrationConfig("glue:mrpc", tmp_path))

    def test_without_data_is_refused_at_once(self) -> None:
        with pytest.raises(OptionError, match="`calibration` glue:mrpc needs `data`"):
            CalibrationConfig("glue:mrpc")

    def test_nobody_knows_is_refused_at_once(self) -> None:
        with pytest.raises(OptionError, match="`task` is one of"):
            CalibrationConfig("glue:imdb", ".")


class TestArrays:
    def save(self, folder: Path, **arrays: Any) -> str:
        np.savez(folder / "inputs.npz", **arrays)
        return str(folder / "inputs.npz")

    def test_are_cut_into_batches(self, encoder: OnnxModel, tmp_path: Path) -> None:
        arrays = batch()
        batches = load_calibration(encoder, CalibrationConfig(self.save(tmp_path, **arrays), batch_size=2))
        assert [len(each.feeds["input_ids"]) for each in batches] == [2, 1]
        for name, array in arrays.items():
            np.testing.assert_array_equal(np.concatenate([each.feeds[name] for each in batches]), array)
        np.testing.assert_array_equal(batches[1].mask, arrays["attention_mask"][2:])

    @pytest.mark.parametrize(
        ("arrays", "fault"),
        [
            ({}, "holds nothing; the model takes input_ids, attention_mask"),
            ({"input_ids": np.ones((2, 3))}, "holds input_ids; the model takes"),
            ({"input_ids": np.ones((2, 3)), "attention_mask": np.ones((3, 3))}, "the same number of rows"),
            ({"input_ids": np.ones((0, 3)), "attention_mask": np.ones((0, 3))}, "the same number of rows"),
            ({"input_ids": np.int64(1), "attention_mask": np.int64(1)}, "the same number of rows"),
            ({"input_ids": np.array([{}]), "attention_mask": np.ones((1, 3))}, "is not an .npz of arrays"),
        ],
        ids=["nothing", "too few", "rows that differ", "no rows", "numbers", "a pickle"],
    )
    def test_of_another_form_are_refused(
        self, encoder: OnnxModel, tmp_path: Path, arrays: dict[str, Any], fault: str
    ) -> None:
        with pytest.raises(DataError, match=fault):
            load_calibration(encoder, CalibrationConfig(self.save(tmp_path, **arrays)))

    @pytest.mark.parametrize(
        "content",
        [b"", b"PK\x03\x04 cut off", b"\x93NUMPY\x01", b"text"],
        ids=["empty", "cut off", "one array", "text"],
    )
    def test_that_are_no_archive_are_refused(self, encoder: OnnxModel, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "inputs.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"is not an \.npz of arrays"):
            load_calibration(encoder, CalibrationConfig(str(tmp_path / "inputs.npz")))


@pytest.mark.parametrize("options", [{"rows": 0}, {"batch_size": 0}], ids=["rows", "batch size"])
def test_counts_are_positive(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="is a positive integer; got 0"):
        CalibrationConfig("text", **options)  # type: ignore[arg-type]
