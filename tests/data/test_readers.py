import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from squeeze_onnx.data.glue import TASKS
from squeeze_onnx.data.readers import own_sentences, read_sentences, read_train, read_validation, train_texts
from squeeze_onnx.support.errors import DataError, MissingPackageError

SST2 = TASKS["sst2"]
MRPC = TASKS["mrpc"]
STSB = TASKS["stsb"]
MNLI = TASKS["mnli"]


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def sst2(tmp_path: Path) -> Path:
    write(tmp_path / "SST-2" / "dev.tsv", "sentence\tlabel", "a good film\t1", "a bad film\t0")
    return tmp_path


class TestWhereASplitIsFound:
    @pytest.mark.parametrize("folder", ["SST-2", "sst2", "SST2"])
    def test_in_the_folder_of_the_task_below_the_root(self, tmp_path: Path, folder: str) -> None:
        write(tmp_path / folder / "dev.tsv", "sentence\tlabel", "fine\t1")
        [rows] = read_validation(SST2, tmp_path)
        assert rows.texts == (("fine",),)

    def test_in_the_folder_itself(self, sst2: Path) -> None:
        [rows] = read_validation(SST2, sst2 / "SST-2")
        assert rows.texts == (("a good film",), ("a bad film",))
        np.testing.assert_array_equal(rows.labels, [1, 0])

    @pytest.mark.parametrize("name", ["dev.tsv", "validation.tsv"])
    def test_under_either_name(self, tmp_path: Path, name: str) -> None:
        write(tmp_path / name, "sentence\tlabel", "fine\t1")
        assert len(read_validation(SST2, tmp_path)[0].texts) == 1

    @pytest.mark.parametrize(
        "names",
        [("validation.parquet",), ("validation-00000-of-00002.parquet", "validation-00001-of-00002.parquet")],
        ids=["one file", "shards, in order"],
    )
    def test_as_parquet(self, tmp_path: Path, names: Sequence[str]) -> None:
        for number, name in enumerate(names):
            table = pa.table({"sentence": [f"text {number}"], "label": [number], "idx": [0]})
            parquet.write_table(table, tmp_path / name)
        [rows] = read_validation(SST2, tmp_path)
        assert rows.texts == tuple((f"text {number}",) for number in range(len(names)))
        np.testing.assert_array_equal(rows.labels, range(len(names)))

    def test_not_in_two_folders_at_once(self, tmp_path: Path) -> None:
        for folder in ("SST-2", "sst2"):
            write(tmp_path / folder / "dev.tsv", "sentence\tlabel", "fine\t1")
        with pytest.raises(DataError, match=r"has SST-2 and sst2 for sst2"):
            read_validation(SST2, tmp_path)

    def test_missing_it_says_which_names_it_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"no validation split of sst2: expected dev\.tsv, dev\.parquet, validation"
        ):
            read_validation(SST2, tmp_path)

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"absent does not exist"):
            read_validation(SST2, tmp_path / "absent")

    def test_a_file_is_no_folder(self, sst2: Path) -> None:
        with pytest.raises(DataError, match=r"dev\.tsv is a file"):
            read_validation(SST2, sst2 / "SST-2" / "dev.tsv")


class TestMnli:
    ROWS = ("premise\thypothesis\tlabel", "it rains\tit is wet\t0", "it rains\tit is dry\t2")

    @pytest.mark.parametrize("matched", ["dev.tsv", "dev_matched.tsv", "validation_matched.tsv"])
    def test_matched_comes_first_and_mismatched_has_a_suffix(self, tmp_path: Path, matched: str) -> None:
        write(tmp_path / matched, *self.ROWS)
        write(tmp_path / "dev_mismatched.tsv", *self.ROWS[:2])
        first, second = read_validation(MNLI, tmp_path)
        assert (len(first.texts), first.split.suffix) == (2, "")
        assert (len(second.texts), second.split.suffix) == (1, "_mismatched")
        np.testing.assert_array_equal(first.labels, [0, 2])

    def test_mismatched_may_be_missing(self, tmp_path: Path) -> None:
        write(tmp_path / "dev.tsv", *self.ROWS)
        assert len(read_validation(MNLI, tmp_path)) == 1

    def test_matched_may_not(self, tmp_path: Path) -> None:
        write(tmp_path / "dev_mismatched.tsv", *self.ROWS)
        with pytest.raises(DataError, match="no validation_matched split of mnli"):
            read_validation(MNLI, tmp_path)


class TestRows:
    def test_quotes_tabs_and_odd_line_ends_are_text(self, tmp_path: Path) -> None:
        write(tmp_path / "dev.tsv", "sentence\tlabel", 'he said " no\t0', "one\u2028two\x85three\t1")
        [rows] = read_validation(SST2, tmp_path)
        assert rows.texts == (('he said " no',), ("one\u2028two\x85three",))

    def test_windows_line_ends_and_a_byte_order_mark_are_taken_off(self, tmp_path: Path) -> None:
        (tmp_path / "dev.tsv").write_bytes("\ufeffsentence\tlabel\r\nfine\t1\r\n".encode())
        [rows] = read_validation(SST2, tmp_path)
        assert rows.texts == (("fine",),)

    def test_other_columns_are_passed_over(self, tmp_path: Path) -> None:
        write(tmp_path / "dev.tsv", "idx\tlabel\tsentence2\tsentence1", "7\t1\tb\ta")
        [rows] = read_validation(MRPC, tmp_path)
        assert rows.texts == (("a", "b"),)

    def test_classes_may_stand_by_name(self, tmp_path: Path) -> None:
        write(tmp_path / "dev.tsv", "sentence1\tsentence2\tlabel", "a\tb\tnot_entailment", "a\tb\tentailment")
        [rows] = read_validation(TASKS["wnli"], tmp_path)
        np.testing.assert_array_equal(rows.labels, [0, 1])

    def test_scores_are_numbers(self, tmp_path: Path) -> None:
        write(tmp_path / "dev.tsv", "sentence1\tsentence2\tlabel", "a\tb\t3.75", "a\tb\t5")
        [rows] = read_validation(STSB, tmp_path)
        np.testing.assert_array_equal(rows.labels, [3.75, 5.0])

    def test_the_first_rows_can_be_taken(self, sst2: Path) -> None:
        [rows] = read_validation(SST2, sst2)
        assert rows.first(1).texts == (("a good film",),)
        assert len(rows.first(1).labels) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["sentence\tlabel", "fine\t1", ""], r"dev\.tsv line 3 is empty; expected 2 fields"),
        (["sentence\tlabel", "fine\t1", "no label"], r"dev\.tsv line 3 has 1 fields; the header names 2"),
        (["sentence\tlabel", "one\ttab too many\t1"], r"dev\.tsv line 2 has 3 fields"),
        (["sentence\tlabel", "fine\t1", " \t0"], r"dev\.tsv line 3: sentence is blank"),
        (["sentence\tlabel", "fine\t2"], r"dev\.tsv line 2: label '2' is none of negative, positive, 0, 1"),
        (["sentence\tlabel", "fine\t-1"], r"dev\.tsv line 2: label '-1' is none of"),
        (["sentence\tlabel", "fine\t"], r"dev\.tsv line 2: label '' is none of"),
        (["text\tlabel", "fine\t1"], r"dev\.tsv has no column sentence; it has text, label"),
        (["sentence", "fine"], r"dev\.tsv has no column label"),
        (["sentence\tlabel"], r"the validation split of sst2 has no rows"),
        ([], r"dev\.tsv is empty"),
    ],
    ids=[
        "an empty line",
        "a missing field",
        "a field too many",
        "a blank text",
        "an unknown class",
        "a hidden label",
        "no label",
        "an unknown column",
        "no label column",
        "a header only",
        "an empty file",
    ],
)
def test_a_bad_tsv_names_file_and_line(tmp_path: Path, lines: list[str], message: str) -> None:
    write(tmp_path / "dev.tsv", *lines)
    with pytest.raises(DataError, match=message):
        read_validation(SST2, tmp_path)


@pytest.mark.parametrize("label", ["5.1", "-0.5", "nan", "high", ""])
def test_a_bad_score_names_its_line(tmp_path: Path, label: str) -> None:
    write(tmp_path / "dev.tsv", "sentence1\tsentence2\tlabel", "a\tb\t1", f"a\tb\t{label}")
    with pytest.raises(DataError, match=r"dev\.tsv line 3: label .* is no score from 0 to 5"):
        read_validation(STSB, tmp_path)


def test_bytes_that_are_not_utf_8_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_bytes(b"sentence\tlabel\nfine\t1\ncaf\xe9\t0\n")
    with pytest.raises(DataError, match=r"dev\.tsv line 3 is not UTF-8"):
        read_validation(SST2, tmp_path)


class TestBadParquet:
    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "validation.parquet").write_bytes(b"PAR1 and nothing else")
        with pytest.raises(DataError, match=r"validation\.parquet is not a readable parquet file"):
            read_validation(SST2, tmp_path)

    def test_a_missing_column(self, tmp_path: Path) -> None:
        parquet.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "validation.parquet")
        with pytest.raises(DataError, match=r"has no column sentence; it has text, label"):
            read_validation(SST2, tmp_path)

    def test_a_null_names_its_row(self, tmp_path: Path) -> None:
        parquet.write_table(pa.table({"sentence": ["a", None], "label": [1, 0]}), tmp_path / "validation.parquet")
        with pytest.raises(DataError, match=r"validation\.parquet row 2: sentence is None, not a text"):
            read_validation(SST2, tmp_path)

    def test_without_pyarrow_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        parquet.write_table(pa.table({"sentence": ["a"], "label": [1]}), tmp_path / "validation.parquet")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingPackageError, match=r"squeeze-onnx\[parquet\]"):
            read_validation(SST2, tmp_path)


class HubRows:
    """Stands in for what `datasets.load_dataset` returns."""

    column_names = ("sentence", "label", "idx")

    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter([{"sentence": "fine", "label": 1, "idx": 0}, {"sentence": "", "label": 0, "idx": 1}][: self.rows])

    def __init__(self, rows: int) -> None:
        self.rows = rows


class TestHub:
    def test_the_split_of_the_task_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, str, str]] = []

        def load_dataset(name: str, subset: str, *, split: str) -> HubRows:
            asked.append((name, subset, split))
            return HubRows(1)

        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
        [rows] = read_validation(SST2, "nyu-mll/glue")
        assert asked == [("nyu-mll/glue", "sst2", "validation")]
        assert rows.texts == (("fine",),)

    def test_a_bad_row_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        datasets = SimpleNamespace(load_dataset=lambda *_, **__: HubRows(2))
        monkeypatch.setitem(sys.modules, "datasets", datasets)
        with pytest.raises(DataError, match=r"nyu-mll/glue sst2 validation row 2: sentence is blank"):
            read_validation(SST2, "nyu-mll/glue")

    def test_a_data_set_that_does_not_load_is_named_with_the_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load_dataset(*_: object, **__: object) -> None:
            raise FileNotFoundError("Couldn't find any data\nand much more")

        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
        with pytest.raises(
            DataError, match=r"nobody/nothing, sst2, validation cannot be loaded: Couldn't find any data$"
        ):
            read_validation(SST2, "nobody/nothing")

    def test_without_datasets_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingPackageError, match=r"nyu-mll/glue is no folder here.*squeeze-onnx\[hub\]"):
            read_validation(SST2, "nyu-mll/glue")


class TestTrain:
    def test_has_labels(self, tmp_path: Path) -> None:
        write(tmp_path / "STS-B" / "train.tsv", "sentence1\tsentence2\tlabel", "a\tb\t2.5", "c\td\t5")
        rows = read_train(STSB, tmp_path)
        assert rows is not None
        assert (rows.split.name, rows.texts, rows.labels.tolist()) == ("train", (("a", "b"), ("c", "d")), [2.5, 5.0])

    def test_leaves_out_a_pair_that_lacks_a_text_and_its_label(self, tmp_path: Path) -> None:
        write(tmp_path / "train.tsv", "question1\tquestion2\tlabel", "why?\t\t?", "why?\thow?\t1")
        rows = read_train(TASKS["qqp"], tmp_path)
        assert rows is not None
        assert (rows.texts, rows.labels.tolist()) == ((("why?", "how?"),), [1])

    def test_may_be_missing(self, sst2: Path) -> None:
        assert read_train(SST2, sst2) is None

    @pytest.mark.parametrize(
        ("lines", "fault"),
        [
            (("sentence\tlabel", "fine\t2"), r"train\.tsv line 2: label '2' is none of negative, positive"),
            (("sentence\tlabel", " \t1"), r"train\.tsv line 2: sentence blank"),
            (("sentence", "fine"), r"train\.tsv has no column label"),
            (("sentence\tlabel",), "the train split of sst2 has no rows"),
        ],
        ids=["a strange label", "a blank text", "no labels", "no rows"],
    )
    def test_names_what_is_wrong(self, tmp_path: Path, lines: tuple[str, ...], fault: str) -> None:
        write(tmp_path / "train.tsv", *lines)
        with pytest.raises(DataError, match=fault):
            read_train(SST2, tmp_path)


def test_rows_are_picked_by_number(tmp_path: Path) -> None:
    write(tmp_path / "dev.tsv", "sentence\tlabel", "one\t0", "two\t1", "three\t1")
    [rows] = read_validation(SST2, tmp_path)
    picked = rows.pick(np.array([2, 0]))
    assert (picked.texts, picked.labels.tolist()) == ((("three",), ("one",)), [1, 0])


class TestTrainTexts:
    @pytest.fixture
    def mrpc(self, tmp_path: Path) -> Path:
        rows = [f"first {number}\tsecond {number % 3}\t1" for number in range(9)]
        write(tmp_path / "MRPC" / "train.tsv", "sentence1\tsentence2\tlabel", *rows)
        return tmp_path

    def test_pairs_stay_together(self, mrpc: Path) -> None:
        rows = train_texts(MRPC, mrpc, 100, seed=0)
        assert sorted(rows) == [(f"first {number}", f"second {number % 3}") for number in range(9)]

    def test_the_seed_draws(self, mrpc: Path) -> None:
        first, again, other = (train_texts(MRPC, mrpc, 4, seed=seed) for seed in (1, 1, 2))
        assert first == again != other
        assert len(first) == 4

    def test_labels_are_not_looked_at(self, tmp_path: Path) -> None:
        write(tmp_path / "train.tsv", "sentence", "fine")
        assert train_texts(SST2, tmp_path, 1, seed=0) == [("fine",)]

    def test_a_row_that_repeats_comes_once(self, tmp_path: Path) -> None:
        write(tmp_path / "train.tsv", "sentence", "fine", "fine")
        assert train_texts(SST2, tmp_path, 5, seed=0) == [("fine",)]

    def test_a_part_of_the_train_split_will_do(self, tmp_path: Path) -> None:
        write(tmp_path / "MNLI" / "train_subset.tsv", "premise\thypothesis\tlabel", "a\tb\t0")
        assert train_texts(MNLI, tmp_path, 5, seed=0) == [("a", "b")]

    def test_a_pair_that_lacks_a_text_is_left_out(self, tmp_path: Path) -> None:
        write(tmp_path / "train.tsv", "question1\tquestion2\tlabel", "why?\t\t0", "why?\thow?\t0")
        assert train_texts(TASKS["qqp"], tmp_path, 5, seed=0) == [("why?", "how?")]

    def test_a_row_without_any_text_names_its_line(self, tmp_path: Path) -> None:
        write(tmp_path / "train.tsv", "question1\tquestion2\tlabel", "why?\thow?\t0", " \t\t0")
        with pytest.raises(DataError, match=r"train\.tsv line 3: question1 and question2 blank"):
            train_texts(TASKS["qqp"], tmp_path, 5, seed=0)

    def test_a_header_alone_is_no_train_split(self, tmp_path: Path) -> None:
        write(tmp_path / "train.tsv", "sentence\tlabel")
        with pytest.raises(DataError, match="the train split of sst2 has no rows"):
            train_texts(SST2, tmp_path, 5, seed=0)

    def test_a_missing_train_split_is_named(self, sst2: Path) -> None:
        with pytest.raises(DataError, match=r"no train split of sst2: expected train\.tsv"):
            train_texts(SST2, sst2, 5, seed=0)


class TestSentences:
    def test_a_file_holds_a_sentence_a_line(self, tmp_path: Path) -> None:
        assert read_sentences(write(tmp_path / "s.txt", "One.", "Two.")) == ("One.", "Two.")

    def test_a_blank_line_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"s\.txt line 2 is empty"):
            read_sentences(write(tmp_path / "s.txt", "One.", "", "Two."))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"absent\.txt cannot be read: No such file"):
            read_sentences(tmp_path / "absent.txt")

    def test_our_own_are_many_and_all_different(self) -> None:
        sentences = own_sentences()
        assert len(sentences) == len(set(sentences)) == 64
        assert all(sentence == sentence.strip() != "" for sentence in sentences)
